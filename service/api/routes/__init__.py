"""One module per resource: each route reads a body, calls the container and answers.

Here belongs nothing that a second route or the WebSocket would need too; no route opens a database or a model.
"""
