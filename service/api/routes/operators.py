"""The routes for who operates the service: whom a key belongs to, the keys of a tenant, and its audit log."""

import time

from fastapi import APIRouter, Request, Response

from service.api.dependencies import ContainerDep, RequestBodyDep
from service.api.openapi import PROBLEMS
from service.api.pagination import Cursor, Limit, cursor_of, position_of
from service.api.presenters import iso
from service.api.schemas.operators import AuditEntry, AuditPage, CallerState, KeyPage, KeyState
from service.api.scopes import ANY_KEY, requires
from service.security.caller import Caller

router = APIRouter(prefix="/v1", tags=["keys"], responses=PROBLEMS, dependencies=[requires("admin")])
caller = APIRouter(prefix="/v1", tags=["keys"], responses=PROBLEMS, dependencies=[ANY_KEY])


@caller.get("/caller", response_model=CallerState)
def read_caller(http: Request, request: RequestBodyDep) -> Response:
    """Read whom the key of this request belongs to, and what it may do."""
    found: Caller = http.state.caller
    return request.answer(CallerState(tenant=found.tenant, scopes=sorted(found.scopes), key=found.key))


@router.get("/keys", response_model=KeyPage)
def read_keys(request: RequestBodyDep, container: ContainerDep) -> Response:
    """Read the keys of the tenant, oldest first, without their secrets.

    Keys are made and revoked with `wtl keys` on the machine of the database.
    """
    now = time.time()
    items = [
        KeyState(
            prefix=key.prefix,
            label=key.label,
            scopes=sorted(key.scopes),
            state="usable" if key.usable(now) else "expired" if key.revoked_at is None else "revoked",
            created_at=iso(key.created_at),
            expires_at=None if key.expires_at is None else iso(key.expires_at),
            revoked_at=None if key.revoked_at is None else iso(key.revoked_at),
        )
        for key in container.authenticator.keys(request.tenant)
    ]
    return request.answer(KeyPage(items=items, next_cursor=None))


@router.get("/audit", response_model=AuditPage)
def read_audit_log(
    request: RequestBodyDep, container: ContainerDep, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """Read a page of the tenant's entries in the audit log, newest first."""
    found, more = container.audit_log.page(request.tenant, limit, None if cursor is None else position_of(cursor))
    items = [
        AuditEntry(
            at=iso(one.at), key=one.key, action=one.action, subject=one.subject, outcome=one.outcome,
            request=one.request,
        )
        for one in found
    ]  # fmt: skip
    return request.answer(AuditPage(items=items, next_cursor=None if more is None else cursor_of(more)))
