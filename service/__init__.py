"""The service: adapts trained models over a REST API, with its Python client.

Code that needs a server belongs here. Models, tasks and training belong in `metalearn`, commands in `wtl`.
"""
