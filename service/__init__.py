"""Trained bundles behind HTTP: watch, try, learn as a REST API, and its Python client."""
