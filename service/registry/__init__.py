"""The model registry: versions, aliases, stored bundles, and the models in memory.

The registration, selection and loading of models belong here, their computation in `inference`.
"""
