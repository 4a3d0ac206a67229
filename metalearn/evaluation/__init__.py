"""Measuring what was learnt, on frozen manifests, with intervals and controls."""
