"""Bodies of the routes for who operates the service: callers, keys and the audit log."""

from pydantic import Field

from service.api.schemas.adaptations import NEXT_CURSOR, Body


class CallerState(Body):
    """Whom the key of a request belongs to, and what it may do."""

    tenant: str = Field(description="Tenant of the key, whose adaptations and jobs are seen.")
    scopes: list[str] = Field(description="Scopes of the key.")
    key: str | None = Field(description="Beginning of the key. Null if the server needs no key.")


class KeyState(Body):
    """An API key without its secret."""

    prefix: str = Field(description="Beginning of the key, which names it.")
    label: str = Field(description="Label that it was made with.")
    scopes: list[str] = Field(description="Scopes of the key.")
    state: str = Field(description="Either `usable`, `expired` or `revoked`.")
    created_at: str = Field(description="Time of creation, ISO 8601 in UTC.")
    expires_at: str | None = Field(description="Time of expiry, ISO 8601 in UTC. Null if it does not expire.")
    revoked_at: str | None = Field(description="Time of revocation, ISO 8601 in UTC. Null if it was not revoked.")


class KeyPage(Body):
    """The keys of a tenant, oldest first."""

    items: list[KeyState] = Field(description="Keys of the tenant.")
    next_cursor: str | None = NEXT_CURSOR


class AuditEntry(Body):
    """One change or refusal in the audit log."""

    at: str = Field(description="Time of the request, ISO 8601 in UTC.")
    key: str | None = Field(description="Beginning of the key. Null if the server needed no key.")
    action: str = Field(description="Method and route.")
    subject: str = Field(description="Path of the request.")
    outcome: str = Field(description="Status of the response.")
    request: str | None = Field(description="Id of the request, as in the log.")


class AuditPage(Body):
    """A page of the audit log of a tenant, newest first."""

    items: list[AuditEntry] = Field(description="Entries of the log.")
    next_cursor: str | None = NEXT_CURSOR
