"""Metrics, logs, traces and timings of the stages of a request.

Here belongs how something is reported; what is worth reporting is noted where it happens.
"""
