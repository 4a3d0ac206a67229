"""API keys, scopes, rate limits and the audit log.

Their enforcement on requests belongs in `api.middleware.auth` and `api.scopes`.
"""
