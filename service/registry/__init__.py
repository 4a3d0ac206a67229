"""Which bundle is which version of which model, what aliases mean, and which models are in memory.

Here belongs the life of a model on a server. How a loaded model computes belongs in `inference`.
"""
