"""What people run: the `wtl` command, the demo, and the service on Ray Serve.

Wires `service` and `metalearn` together for a terminal. Holds no method, no model and no route of its own, and
nothing below it imports it.
"""
