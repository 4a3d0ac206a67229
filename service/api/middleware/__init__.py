"""ASGI middleware around every route: authentication, the access log, and the fast path of `act`.

Code that has to see every request belongs here. The needs of a single route are dependencies (`api.dependencies`).
"""
