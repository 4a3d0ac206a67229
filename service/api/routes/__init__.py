"""The routes, one module per resource: each one reads the request, calls the container and makes a response.

Code that a second route or the WebSocket needs belongs elsewhere. No route opens a database or a model.
"""
