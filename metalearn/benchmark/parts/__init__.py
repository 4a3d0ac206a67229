"""The parts of a suite, one module each: `measure` runs what is missing, the other functions read the results."""
