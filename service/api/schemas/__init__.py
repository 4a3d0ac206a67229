"""Request and response bodies as strict pydantic models, one module per resource.

The conversion of rows to response bodies belongs in `api.presenters`, the wording of validation errors in
`api.validation`.
"""
