"""The parts of benchmarks/scale.py: who steps environments, and what a round of training costs its driver."""
