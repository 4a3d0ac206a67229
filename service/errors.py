"""The errors that clients get, as RFC 9457 problems. Knows HTTP statuses, but not the framework.

ServiceError
├── MalformedBody              400  the bytes do not match their content type
├── BadParameter               400  in the query, the path or a header
├── Unauthenticated            401  no key, or an unknown, expired or revoked one
├── Forbidden                  403  the key lacks a scope
├── FamilyNotAllowed           403  the server does not import this module for clients
├── CodeNotAllowed             403  nor does it import the one that a setting names
├── ForeignOrigin              403  a page of another site may not change anything here
├── NotFound                   404
│   ├── AdaptationNotFound          unknown, deleted or expired
│   ├── VersionNotFound
│   ├── EpisodeNotFound
│   ├── ModelNotFound
│   ├── AliasNotFound
│   ├── JobNotFound
│   └── DatasetNotFound
├── MethodNotAllowed           405
├── TooSlow                    408  the body took too long to arrive
├── Conflict                   409
│   ├── EpisodeFinished             the recorded episode takes no more steps
│   ├── EpisodeOver                 the horizon is reached: the episode can only be finished
│   ├── EpisodeEmpty                the episode has no actions to learn from
│   ├── TooManyEpisodes             the adaptation is full
│   ├── QuotaExceeded               the tenant has no room for more adaptations or bytes
│   ├── ModelUnavailable            the files of an old model version are gone
│   ├── PolicyNotExportable         the model's bundle has no graphs
│   ├── NotRecognisable             the model's bundle has no graph that says how probable actions are
│   ├── BundleUnusable              the bundle is damaged, or the runtime cannot load it
│   ├── NothingBefore               the alias has no earlier version
│   ├── JobConflict                 the id belongs to a different training job
│   └── NoTraining                  this server runs no training jobs
├── BodyTooLarge               413
├── DatasetTooLarge            413  the data set holds no more
├── UnsupportedMediaType       415
├── ForeignHost                421  the server does not answer under this name
├── InvalidPayload             422  well-formed, but invalid: field, expected, got
│   └── IdempotencyKeyReused
├── TooManyRequests            429  repeat later
│   └── TooManyStreams              the tenant has no room for more streams
├── InternalError              500  a bug in the server; the log has the details
├── Busy                       503  repeat
│   ├── DatabaseUnavailable
│   └── ShuttingDown                the server stops; another one may answer
├── NotReady                   503  a check of the server has failed
└── StorageFull                507  nothing of the request was stored
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from metalearn.data.errors import InvalidData, WatchTryLearnError

PROBLEM_TYPE = "urn:problem-type:wtl:"
_BEARER = 'Bearer realm="wtl"'
STREAM_WAIT_S = 5  # streams stay open for long, so an earlier attempt would fail too


class ServiceError(WatchTryLearnError):
    """An error that is reported to the client as a problem; `detail` is one sentence for people."""

    status: ClassVar[int]
    type: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field, self.expected, self.got = field, expected, got
        self.headers = dict(headers or {})

    def to_json(self) -> dict[str, Any]:
        """Return the body of the problem, without `field`, `expected` and `got` if they are None."""
        problem = {
            "type": PROBLEM_TYPE + self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        where = {"field": self.field, "expected": self.expected, "got": self.got}
        return problem | {key: value for key, value in where.items() if value is not None}


class MalformedBody(ServiceError):
    """The bytes of the body do not match its content type."""

    status, type, title = 400, "malformed-body", "The body cannot be decoded"


class BadParameter(ServiceError):
    """A parameter in the query, the path or a header is invalid."""

    status, type, title = 400, "bad-parameter", "A parameter cannot be used"

    @classmethod
    def of(cls, name: str, expected: str, got: str) -> "BadParameter":
        """Which parameter, what it may be and what it is."""
        return cls(f"{name}: expected {expected}, got {got}", field=name, expected=expected, got=got)


class Unauthenticated(ServiceError):
    """The request has no valid API key."""

    status, type, title = 401, "unauthenticated", "An API key is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(
            detail, field="Authorization", expected="Bearer wtl_...", headers={"WWW-Authenticate": _BEARER}
        )


class Forbidden(ServiceError):
    """The API key lacks the scope of the route."""

    status, type, title = 403, "forbidden", "The API key does not allow this"

    def __init__(self, scope: str, scopes: str) -> None:
        challenge = f'{_BEARER}, error="insufficient_scope", scope="{scope}"'
        super().__init__(
            f"the key lacks the scope {scope}",
            field="Authorization",
            expected=f"a key with the scope {scope}",
            got=f"a key with {scopes or 'no scope'}",
            headers={"WWW-Authenticate": challenge},
        )


class ForeignOrigin(ServiceError):
    """A page of another site asks for a change."""

    status, type, title = 403, "foreign-origin", "Pages of other sites may not change anything here"

    def __init__(self, got: str) -> None:
        super().__init__(
            f"the request comes from a page of another site, {got}; WTL_ALLOWED_ORIGINS of the server names the sites "
            "whose pages may change something",
            field="Origin",
            expected="the server's own pages, or an origin in WTL_ALLOWED_ORIGINS",
            got=got,
        )


class FamilyNotAllowed(ServiceError):
    """The operator has not allowed the module of this family."""

    status, type, title = 403, "family-not-allowed", "This server does not train this family"


class CodeNotAllowed(ServiceError):
    """The operator has not allowed a module that a setting names."""

    status, type, title = 403, "code-not-allowed", "This server does not import this module"


class NotFound(ServiceError):
    """Nothing exists at this path."""

    status, type, title = 404, "not-found", "There is nothing at this address"


class AdaptationNotFound(NotFound):
    """The adaptation does not exist: it never did, or was deleted, or has expired."""

    type, title = "adaptation-not-found", "No such adaptation"

    def __init__(self, adaptation_id: str) -> None:
        got = quote(adaptation_id)
        super().__init__(f"there is no adaptation {got}: unknown, deleted or expired", field="id", got=got)


class VersionNotFound(NotFound):
    """The adaptation has no such version."""

    type, title = "version-not-found", "No such version"


class EpisodeNotFound(NotFound):
    """The adaptation has no such recorded episode."""

    type, title = "episode-not-found", "No such episode"


class ModelNotFound(NotFound):
    """The model does not exist, or not in this version."""

    type, title = "model-not-found", "No such model"


class AliasNotFound(NotFound):
    """The model has no such alias."""

    type, title = "alias-not-found", "No such alias"


class JobNotFound(NotFound):
    """The training job does not exist."""

    type, title = "job-not-found", "No such training job"


class DatasetNotFound(NotFound):
    """The tenant has uploaded no such data set."""

    type, title = "dataset-not-found", "No such data set"


class MethodNotAllowed(ServiceError):
    """The path exists, but not with this method."""

    status, type, title = 405, "method-not-allowed", "This address does not do that"


class TooSlow(ServiceError):
    """The body takes too long to arrive."""

    status, type, title = 408, "too-slow", "The request took too long to come in"


class Conflict(ServiceError):
    """The request is not possible in the current state of the resource."""

    status, type, title = 409, "conflict", "Not possible in this state"


class EpisodeFinished(Conflict):
    """The episode has been finished and is a trial."""

    type, title = "episode-finished", "The episode is finished"


class EpisodeOver(Conflict):
    """The episode has reached the horizon."""

    type, title = "episode-over", "The episode has reached the horizon"


class EpisodeEmpty(Conflict):
    """The episode has no actions, so it cannot be finished."""

    type, title = "episode-empty", "The episode has no steps"


class TooManyEpisodes(Conflict):
    """The adaptation cannot hold more episodes."""

    type, title = "too-many-episodes", "The adaptation is full"


class QuotaExceeded(Conflict):
    """The tenant has used up its quota."""

    type, title = "quota-exceeded", "The tenant's quota is used up"


class ModelUnavailable(Conflict):
    """The model version is registered, but cannot be loaded."""

    type, title = "model-unavailable", "The model cannot be loaded"


class PolicyNotExportable(Conflict):
    """The model's bundle has no graphs."""

    type, title = "policy-not-exportable", "The model's policy cannot be exported"

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            f"there are no graphs in the bundle of {name}@{version}: `wtl export BUNDLE` adds them where torch is "
            "installed, then the server has to load it again; ?policy=false exports the episodes alone"
        )


class NotRecognisable(Conflict):
    """The model's bundle was exported before graphs said how probable an action is."""

    type, title = "not-recognisable", "The model cannot recognise agents"

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            f"there is no heads.onnx in the bundle of {name}@{version}, so nothing says how probable an action is: "
            "`wtl export BUNDLE` adds it where torch is installed, then the server has to load it again"
        )


class BundleUnusable(Conflict):
    """The bundle is damaged, or the runtime of this server cannot load it."""

    type, title = "bundle-unusable", "The bundle cannot be used"


class NothingBefore(Conflict):
    """The alias has no earlier version to roll back to."""

    type, title = "nothing-before", "There is nothing to go back to"


class JobConflict(Conflict):
    """The id belongs to a training job with other settings."""

    type, title = "job-conflict", "The id belongs to another training job"


class NoTraining(Conflict):
    """The server has no training backend."""

    type, title = "no-training", "This server runs no training jobs"


class BodyTooLarge(ServiceError):
    """The body is larger than the server accepts."""

    status, type, title = 413, "body-too-large", "The body is too large"


class DatasetTooLarge(ServiceError):
    """The data set would be larger than one may be."""

    status, type, title = 413, "dataset-too-large", "The data set is too large"


class UnsupportedMediaType(ServiceError):
    """The server does not read this content type or encoding."""

    status, type, title = 415, "unsupported-media-type", "The format of the body is not supported"


class ForeignHost(ServiceError):
    """The request is addressed to a name that is not the server's: perhaps a page has bound its own name to it."""

    status, type, title = 421, "foreign-host", "The server does not answer under this name"

    def __init__(self, got: str) -> None:
        super().__init__(
            f"the server does not answer as {got}; WTL_ALLOWED_HOSTS of the server names the hosts it answers as",
            field="Host",
            expected="localhost, or a name in WTL_ALLOWED_HOSTS",
            got=got,
        )


class InvalidPayload(ServiceError):
    """A value in the body is invalid."""

    status, type, title = 422, "invalid-payload", "A value in the body breaks a rule"

    @classmethod
    def of(cls, error: InvalidData) -> "InvalidPayload":
        """Convert an error of the data types."""
        return cls(str(error), field=error.field, expected=error.expected, got=error.got)


class IdempotencyKeyReused(InvalidPayload):
    """The idempotency key belongs to another request."""

    type, title = "idempotency-key-reused", "The Idempotency-Key belongs to another request"


class TooManyRequests(ServiceError):
    """The client exceeds its rate limit."""

    status, type, title = 429, "too-many-requests", "Too many requests"


class TooManyStreams(TooManyRequests):
    """The tenant has too many WebSockets and event streams open."""

    type, title = "too-many-streams", "Too many streams are open"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"a tenant may have {limit} streams open at a server",
            field="streams",
            expected=f"at most {limit} at once",
            got=f"more than {limit}",
            headers={"Retry-After": str(STREAM_WAIT_S)},
        )


class InternalError(ServiceError):
    """An unexpected error in the server."""

    status, type, title = 500, "internal-error", "The server failed"


class Busy(ServiceError):
    """The server is overloaded or shutting down."""

    status, type, title = 503, "busy", "The server is busy"

    def __init__(self, detail: str, wait_s: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(wait_s)})


class NotReady(ServiceError):
    """The server cannot serve; `reasons` has the failed checks."""

    status, type, title = 503, "not-ready", "The server cannot serve"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(reasons.values()), headers={"Retry-After": "5"})
        self.reasons = dict(reasons)

    def to_json(self) -> dict[str, Any]:
        """Return the body of the problem, with a reason per failed check."""
        return super().to_json() | {"reasons": self.reasons}


class DatabaseUnavailable(Busy):
    """The database does not answer. A write may have happened: repeat it with its idempotency key."""

    type, title = "database-unavailable", "The database does not answer"


class ShuttingDown(Busy):
    """The server stops, and takes no more requests."""

    type, title = "shutting-down", "The server is shutting down"

    def __init__(self) -> None:
        super().__init__("the server is shutting down: repeat the request, to this server later or to another one")
        self.headers["Connection"] = "close"


class StorageFull(ServiceError):
    """The disk is full."""

    status, type, title = 507, "storage-full", "The server has no room left"

    def __init__(self) -> None:
        super().__init__(
            "there is no room left to store this, and nothing of it was stored", headers={"Retry-After": "60"}
        )


def quote(value: str) -> str:
    """Quote, escape and shorten a client's value for a sentence."""
    return ascii(shorten(value))


def shorten(value: str) -> str:
    """Return the first 80 characters of a client's value, or 77 and three dots."""
    return value if len(value) <= 80 else value[:77] + "..."
