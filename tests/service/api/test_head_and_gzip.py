"""HEAD wherever there is a GET, and gzip as tools write it: another name, several members, never too much."""

import gzip
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.codecs import gunzip
from service.errors import BodyTooLarge, MalformedBody


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v1/models", "/v1/adaptations", "/openapi.json"])
def test_head_is_get_without_the_body(http: TestClient, path: str) -> None:
    head, get = http.head(path), http.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_nothing_is_a_404_and_of_a_change_a_405(http: TestClient) -> None:
    assert http.head("/v1/models/nothing").status_code == 404
    answer = http.head(f"/v1/adaptations/{'0' * 24}/act")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert http.put("/livez", json={}).headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "X-GZip", " gzip "])
@pytest.mark.parametrize("n_members", [1, 2, 300])
def test_a_body_in_several_members_is_read(
    http: TestClient, wire: dict[str, Any], encoding: str, n_members: int
) -> None:
    plain = json.dumps({"model": "point", "demos": [wire]}).encode()
    step = -(-len(plain) // n_members)
    body = b"".join(gzip.compress(plain[i : i + step]) for i in range(0, len(plain), step))
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    assert http.post("/v1/adaptations", content=body, headers=headers).status_code == 201


def test_the_whole_is_what_counts_and_not_each_member() -> None:
    member = gzip.compress(b"x" * 1000)
    assert gunzip(member * 10, 10_000) == b"x" * 10_000
    with pytest.raises(BodyTooLarge, match="inflates to too much"):
        gunzip(member * 10, 9_999)
    with pytest.raises(BodyTooLarge, match="inflates to too much"):
        gunzip(gzip.compress(bytes(100_000_000)) * 3, 32 * 1024**2)
    with pytest.raises(BodyTooLarge, match="too many members"):
        gunzip(gzip.compress(b"") * 20_000, 10_000)


@pytest.mark.parametrize(
    "tail", [b"{}", gzip.compress(b"x", mtime=0)[:-1], gzip.compress(b"x", mtime=0)[:5], b"\x1f"], ids=repr
)
def test_what_follows_a_member_must_be_a_member(tail: bytes) -> None:
    with pytest.raises(MalformedBody):
        gunzip(gzip.compress(b"x" * 70_000) + tail, 100_000)


def test_members_that_end_where_chunks_do_are_read() -> None:
    random = bytes(range(256)) * 16
    for padding in range(40):
        member = gzip.compress(random + b"y" * padding, compresslevel=0)
        assert gunzip(member * 40, 10**7) == (random + b"y" * padding) * 40
