"""The HTTP and WebSocket interface: routes, schemas, middleware, and how failures are told.

Here belongs whatever knows that a request came over HTTP. What adaptations, models and training jobs *are* belongs in
the rooms beside this one, which import nothing from here.
"""
