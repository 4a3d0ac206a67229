"""The parts of `benchmarks.drex`: who demonstrates badly, what ranks episodes, and who becomes better by it."""
