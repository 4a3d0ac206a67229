"""The faults that `benchmarks/survival.py` injects into servers, and the checks of what survived."""
