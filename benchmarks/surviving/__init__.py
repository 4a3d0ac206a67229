"""What `benchmarks/survival.py` does to servers, and how it finds out what survived."""
