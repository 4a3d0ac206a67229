"""The HTTP and WebSocket interface: routes, schemas, middleware and error handlers.

Code that knows about HTTP belongs here. The logic of adaptations, models and training jobs belongs in the packages
beside this one, which import nothing from here.
"""
