"""What `benchmarks/faults.py` kills, and what it trains meanwhile."""
