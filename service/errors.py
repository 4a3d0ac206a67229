"""What a client can be told went wrong, as RFC 9457 problems. Knows statuses; does not know the framework.

ServiceError
├── MalformedBody              400  the bytes are not what their content type says
├── BadParameter               400  of the query, the path or a header
├── Unauthenticated            401  no key, or one that is unknown, expired or revoked
├── Forbidden                  403  the key lacks a scope
├── NotFound                   404
│   ├── AdaptationNotFound          unknown, deleted or expired
│   ├── VersionNotFound
│   ├── EpisodeNotFound
│   ├── ModelNotFound
│   ├── AliasNotFound
│   └── JobNotFound
├── MethodNotAllowed           405
├── TooSlow                    408  the body did not come in in time
├── Conflict                   409
│   ├── EpisodeFinished             a recorded episode takes nothing more
│   ├── EpisodeOver                 its horizon is reached: it can only be finished
│   ├── EpisodeEmpty                nothing to finish: no action was asked for
│   ├── TooManyEpisodes             an adaptation holds no more
│   ├── QuotaExceeded               the tenant has as many adaptations, or bytes of episodes, as it may
│   ├── ModelUnavailable            the files of an old model version are gone
│   ├── PolicyNotExportable         the model's bundle has no graphs
│   ├── BundleUnusable              it is damaged, or this server's runtime cannot load it
│   ├── NothingBefore               an alias has meant one version only
│   ├── JobConflict                 a training job of that id wants something else
│   └── NoTraining                  this server trains nothing
├── BodyTooLarge               413
├── UnsupportedMediaType       415
├── InvalidPayload             422  well-formed, but breaks a rule: field, expected, got
│   └── IdempotencyKeyReused
├── TooManyRequests            429  try again, later
│   └── TooManyStreams              the tenant holds as many open as it may
├── InternalError              500  our fault; the log knows more than the client
├── Busy                       503  try again
│   └── DatabaseUnavailable
├── NotReady                   503  what keeps the server from serving
└── StorageFull                507  nothing of the request was kept
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from metalearn.data.errors import InvalidData, WatchTryLearnError

PROBLEM_TYPE = "urn:problem-type:wtl:"
_BEARER = 'Bearer realm="wtl"'
STREAM_WAIT_S = 5  # streams are held open for long: asking sooner is of no use


class ServiceError(WatchTryLearnError):
    """A request that gets a problem for an answer; its text is one sentence for a person."""

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
        """The body of the problem; `field`, `expected` and `got` only where they say something."""
        problem = {
            "type": PROBLEM_TYPE + self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        where = {"field": self.field, "expected": self.expected, "got": self.got}
        return problem | {key: value for key, value in where.items() if value is not None}


class MalformedBody(ServiceError):
    """The bytes are not what their content type says."""

    status, type, title = 400, "malformed-body", "The body cannot be decoded"


class BadParameter(ServiceError):
    """A parameter of the query, the path or a header."""

    status, type, title = 400, "bad-parameter", "A parameter cannot be used"


class Unauthenticated(ServiceError):
    """Who is that?"""

    status, type, title = 401, "unauthenticated", "An API key is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(
            detail, field="Authorization", expected="Bearer wtl_...", headers={"WWW-Authenticate": _BEARER}
        )


class Forbidden(ServiceError):
    """A key that is good for other things."""

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


class NotFound(ServiceError):
    """Nothing is there."""

    status, type, title = 404, "not-found", "There is nothing at this address"


class AdaptationNotFound(NotFound):
    """Never made, deleted, or expired."""

    type, title = "adaptation-not-found", "No such adaptation"

    def __init__(self, adaptation_id: str) -> None:
        got = quote(adaptation_id)
        super().__init__(f"there is no adaptation {got}: unknown, deleted or expired", field="id", got=got)


class VersionNotFound(NotFound):
    """The adaptation has no such version."""

    type, title = "version-not-found", "No such version"


class EpisodeNotFound(NotFound):
    """No such recorded episode of this adaptation."""

    type, title = "episode-not-found", "No such episode"


class ModelNotFound(NotFound):
    """No such model, or not in this version."""

    type, title = "model-not-found", "No such model"


class AliasNotFound(NotFound):
    """The model has no such alias."""

    type, title = "alias-not-found", "No such alias"


class JobNotFound(NotFound):
    """No such training job."""

    type, title = "job-not-found", "No such training job"


class MethodNotAllowed(ServiceError):
    """The address exists, and does something else."""

    status, type, title = 405, "method-not-allowed", "This address does not do that"


class TooSlow(ServiceError):
    """The body drips in."""

    status, type, title = 408, "too-slow", "The request took too long to come in"


class Conflict(ServiceError):
    """Not possible in the state that the thing is in."""

    status, type, title = 409, "conflict", "Not possible in this state"


class EpisodeFinished(Conflict):
    """It became a trial."""

    type, title = "episode-finished", "The episode is finished"


class EpisodeOver(Conflict):
    """The horizon is reached."""

    type, title = "episode-over", "The episode has reached the horizon"


class EpisodeEmpty(Conflict):
    """No action was asked for."""

    type, title = "episode-empty", "The episode has no steps"


class TooManyEpisodes(Conflict):
    """An adaptation holds a limited number of episodes."""

    type, title = "too-many-episodes", "The adaptation is full"


class QuotaExceeded(Conflict):
    """The tenant has as much as it may."""

    type, title = "quota-exceeded", "The tenant's quota is used up"


class ModelUnavailable(Conflict):
    """The registry knows the version, but its files are gone."""

    type, title = "model-unavailable", "The model cannot be loaded"


class PolicyNotExportable(Conflict):
    """The model's bundle has no graphs."""

    type, title = "policy-not-exportable", "The model's policy cannot be exported"

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            f"there are no graphs in the bundle of {name}@{version}: `wtl export BUNDLE` adds them where torch is "
            "installed, then the server has to load it again; ?policy=false answers the episodes alone"
        )


class BundleUnusable(Conflict):
    """A bundle that is damaged, or that this server's runtime cannot load."""

    type, title = "bundle-unusable", "The bundle cannot be used"


class NothingBefore(Conflict):
    """The alias has meant one version only."""

    type, title = "nothing-before", "There is nothing to go back to"


class JobConflict(Conflict):
    """The id is taken by another request."""

    type, title = "job-conflict", "The id belongs to another training job"


class NoTraining(Conflict):
    """There is nowhere to train."""

    type, title = "no-training", "This server trains nothing"


class BodyTooLarge(ServiceError):
    """More than the server reads."""

    status, type, title = 413, "body-too-large", "The body is too large"


class UnsupportedMediaType(ServiceError):
    """A content type or encoding that the server does not read."""

    status, type, title = 415, "unsupported-media-type", "The body is in a format that is not read here"


class InvalidPayload(ServiceError):
    """A value in the payload breaks a rule."""

    status, type, title = 422, "invalid-payload", "A value in the body breaks a rule"

    @classmethod
    def of(cls, error: InvalidData) -> "InvalidPayload":
        """What the data types refused, as a problem."""
        return cls(str(error), field=error.field, expected=error.expected, got=error.got)


class IdempotencyKeyReused(InvalidPayload):
    """The key belongs to another request."""

    type, title = "idempotency-key-reused", "The Idempotency-Key belongs to another request"


class TooManyRequests(ServiceError):
    """Faster than agreed."""

    status, type, title = 429, "too-many-requests", "Too many requests"


class TooManyStreams(TooManyRequests):
    """Of WebSockets and followers of events, at once."""

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
    """Our fault."""

    status, type, title = 500, "internal-error", "The server failed"


class Busy(ServiceError):
    """Too much to do, or going down."""

    status, type, title = 503, "busy", "The server is busy"

    def __init__(self, detail: str, wait_s: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(wait_s)})


class NotReady(ServiceError):
    """The server cannot serve; `reasons` says which of its parts, and why."""

    status, type, title = 503, "not-ready", "The server cannot serve"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(reasons.values()), headers={"Retry-After": "5"})
        self.reasons = dict(reasons)

    def to_json(self) -> dict[str, Any]:
        """The body of the problem, with a reason per failed check."""
        return super().to_json() | {"reasons": self.reasons}


class DatabaseUnavailable(Busy):
    """It does not answer, or has cut the connection. A write may have happened: repeat it with its key."""

    type, title = "database-unavailable", "The database does not answer"


class StorageFull(ServiceError):
    """No room on the disk."""

    status, type, title = 507, "storage-full", "The server has no room left"

    def __init__(self) -> None:
        super().__init__(
            "there is no room left to store this, and nothing of it was kept", headers={"Retry-After": "60"}
        )


def quote(value: str) -> str:
    """`value` for a sentence: quoted, escaped, and short whatever a client sent."""
    return ascii(value if len(value) <= 80 else value[:77] + "...")
