"""What travels over the request, as strict pydantic models: one module per resource.

Here belong bodies and answers. How a row becomes an answer belongs in `api.presenters`, and checks that need a
model's spec in `api.validation`.
"""
