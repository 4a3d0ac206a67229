"""The parts of a suite, one module each: `measure` runs what is missing, and other functions read what is there."""
