"""ASGI middleware around every route: authentication, the access log, and the fast path of `act`.

Here belongs what has to see every request. What a single route needs is a dependency (`api.dependencies`).
"""
