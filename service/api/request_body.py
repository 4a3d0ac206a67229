"""The body of a request and the format of its response: media types, gzip, size limits, idempotency keys.

The bytes are received on the event loop. They are decoded in the thread that calls `read`.
"""

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from metalearn.data.quality import EpisodeQuality, QualityWarning
from service.api.schemas.adaptations import Body
from service.api.validation import to_problem
from service.codecs import CODECS, JSON, Codec, check_content_type, decode, gunzip, media_type_of
from service.errors import BadParameter, BodyTooLarge, MalformedBody, TooSlow, UnsupportedMediaType, quote
from service.observability.stage_timings import note, stage
from service.settings import Settings
from service.storage.idempotency import IdempotencyKey

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_QUALITY = re.compile(r";\s*q=([01](?:\.[0-9]{0,3})?)\s*(?:;|$)", re.IGNORECASE)
_GZIP = frozenset({"gzip", "x-gzip"})
_SCALARS = frozenset({bool, float, int, str, type(None)})
B = TypeVar("B", bound=Body)


@dataclass(eq=False)
class RequestBody:
    """The undecoded body of a request, with the methods to decode it and to make a response."""

    request: Request
    tenant: str
    body: bytes
    settings: Settings
    started_s: float = field(default_factory=time.perf_counter)
    decode_ms: float = 0.0

    @classmethod
    async def receive(cls, request: Request, tenant: str, settings: Settings) -> "RequestBody":
        """Receive the body. Raises BodyTooLarge, TooSlow, MalformedBody, ShuttingDown."""
        try:
            async with request.app.state.shutdown.timeout(settings.body_timeout_s):
                body = await _body(request, settings.max_body_bytes)
        except TimeoutError as error:
            limit = f"within {settings.body_timeout_s:g} s"
            raise TooSlow(
                f"the body did not come in {limit}", expected=limit, headers={"Connection": "close"}
            ) from error
        return cls(request, tenant, body, settings)

    def read(self, schema: type[B]) -> B:
        """Decode and check the body.

        Raises:
            UnsupportedMediaType, MalformedBody, BodyTooLarge, InvalidPayload: the body cannot be used.
        """
        decode_s = time.perf_counter()
        value = self._decode(check_content_type(self.request.headers.get("content-type", "")))
        try:
            return schema.model_validate(value)
        except ValidationError as error:
            raise to_problem(error) from error
        finally:
            decoded_s = time.perf_counter()
            self.decode_ms = (decoded_s - decode_s) * 1e3
            note("decode", decode_s, decoded_s)

    def read_optional(self, schema: type[B]) -> B:
        """Decode and check the body; an absent body stands for the defaults. Raises as `read` does."""
        return self.read(schema) if self.body else schema()

    @property
    def idempotency_key(self) -> IdempotencyKey | None:
        """The idempotency key of the request, or None. Raises BadParameter."""
        key = self.request.headers.get("idempotency-key")
        if key is None:
            return None
        if not _KEY.fullmatch(key):
            expected = "1 to 200 printable ASCII characters without spaces"
            raise BadParameter.of("Idempotency-Key", expected, quote(key))
        headers = [self.request.headers.get(name, "") for name in ("content-type", "content-encoding")]
        parts = [self.request.method, self.request.url.path, self.request.url.query, *headers]
        return IdempotencyKey(
            self.tenant, key, hashlib.sha256("\n".join(parts).encode() + b"\n" + self.body).hexdigest()
        )

    def answer(
        self, value: Body | Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Make a response in the format that the client accepts."""
        codec = _accepted(self.request.headers.get("accept", "*/*"), self.request.headers.get("content-type"))
        with stage("encode"):
            body = codec.encode(plain(value))
        return Response(body, status, {**(headers or {}), "Vary": "Accept"}, codec.media_type)

    def created(self, value: Body, path: str) -> Response:
        """Make the response to a request that has created what is at `path`."""
        return self.answer(value, 201, {"Location": self.request.scope.get("root_path", "") + path})

    def _decode(self, media_type: str) -> Any:
        encoding = self.request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "", *_GZIP}:
            raise UnsupportedMediaType(
                f"Content-Encoding: expected gzip or none, got {quote(encoding)}",
                field="Content-Encoding",
                expected="gzip or none",
                got=quote(encoding),
            )
        data = gunzip(self.body, self.settings.max_body_bytes) if encoding in _GZIP else self.body
        if not data:
            raise MalformedBody("the body is empty")
        return decode(media_type, data, self.settings.max_body_bytes, self.settings.max_containers)


def plain(value: Any) -> Any:
    """Convert a schema's value to dicts and lists, without copying its arrays as pydantic would."""
    if isinstance(value, Body):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, list | tuple):
        return value if _SCALARS.issuperset(map(type, value)) else [plain(item) for item in value]
    if isinstance(value, EpisodeQuality | QualityWarning):
        return {name: plain(item) for name, item in vars(value).items()}
    return value


async def _body(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
            elif size > 4 * limit:
                break  # a body that is not much too large is received, so that the client gets to see the response
    except ClientDisconnect as error:
        raise MalformedBody("the body was cut short") from error
    if size > limit:
        raise BodyTooLarge(
            f"the body is larger than {limit} bytes", expected=f"at most {limit} bytes", got=f"{size} bytes or more"
        )
    return b"".join(chunks)


def _quality(part: str) -> float:
    """Return the quality value of a part of Accept, 1 if it has none or cannot be parsed."""
    found = _QUALITY.search(part)
    return float(found[1]) if found else 1.0


def _accepted(accept: str, content_type: str | None) -> Codec:
    """Return the first of the best formats in Accept; without a preference that of the request, else JSON."""
    formats = [
        (_quality(part), CODECS[media_type_of(part)]) for part in accept.split(",") if media_type_of(part) in CODECS
    ]
    if formats and (best := max(formats, key=lambda entry: entry[0]))[0] > 0:
        return best[1]
    return CODECS.get(media_type_of(content_type or ""), CODECS[JSON])
