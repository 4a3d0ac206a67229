"""The addresses. Thin: read, call, answer."""
