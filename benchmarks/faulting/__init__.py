"""The processes that `benchmarks/faults.py` kills, and the training that it runs meanwhile."""
