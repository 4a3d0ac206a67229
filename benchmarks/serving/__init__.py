"""Servers to measure and a generator of load, each in a process of its own."""
