"""`wtl benchmark`: every method on one suite, trained on equal data, measured alike, reported on one page."""
