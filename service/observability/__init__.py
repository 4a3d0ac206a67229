"""Metrics, logs, traces and stage timings of requests.

The formats and exporters belong here. The calls that report something belong where it happens.
"""
