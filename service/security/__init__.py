"""Who is asking, what they may do and how often, and the log of what they changed.

Here belong keys, scopes, rates and the audit log. Where they are enforced is `api.middleware.auth`.
"""
