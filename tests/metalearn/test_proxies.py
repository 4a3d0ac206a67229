"""Proxies of the environment: this machine needs none, and one that cannot be used is named in a sentence."""

import asyncio
import os
import sys
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from support.pointing import PointingRuntime, settings_in
from support.serving import served

from metalearn.data.errors import InvalidConfig
from metalearn.proxies import http_client, is_loopback, without_proxies
from service.app import create_app
from service.client import AsyncClient, Client
from service.settings import Settings
from service.training_jobs.ray_backend import RayBackend
from wtl.cli import main

NOWHERE = "127.0.0.1:9"
"""A port where nobody answers: what goes through this proxy fails."""
BAD = ("socks5://" + NOWHERE, "socks5h://user:secret@proxy:1080", "ftp://proxy", "socks4://proxy:1", "http://")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # as where it is not installed
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def served_app(tmp_path: Any) -> FastAPI:
    return create_app(settings_in(tmp_path), runtime_factory=PointingRuntime)


@pytest.mark.parametrize(
    "variable",
    [
        "ALL_PROXY",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY")
        ),
    ],
)
@pytest.mark.parametrize("proxy", [*BAD, "http://" + NOWHERE])
def test_loopback_goes_through_no_proxy(
    variable: str, proxy: str, served_app: FastAPI, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, proxy)
    with served(served_app, Settings()) as url:
        with Client(url, retries=0) as client:
            assert [model.name for model in client.models()] == ["point"]
        assert main(["models", "aliases", "point", "--url", url]) == 0
        with http_client(url) as http:
            assert http.get("/readyz").status_code == 200
        backend = RayBackend(url)
        assert backend._request("GET", "/api/jobs/").status_code == 404  # of our own server, without a proxy
        backend.close()


def test_the_asyncio_client_goes_through_no_proxy(served_app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    async def names(url: str) -> list[str]:
        async with AsyncClient(url, retries=0) as client:
            return [model.name for model in await client.models()]

    monkeypatch.setenv("ALL_PROXY", BAD[0])
    with served(served_app, Settings()) as url:
        assert asyncio.run(names(url)) == ["point"]


@pytest.mark.parametrize("proxy", BAD[1:-1])
def test_another_machine_needs_a_proxy_that_can_be_used(
    proxy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(InvalidConfig, match="ALL_PROXY: expected a proxy as http") as refused:
        Client("http://robots.example.org")
    assert "secret" not in str(refused.value)
    with pytest.raises(InvalidConfig, match="ALL_PROXY"):
        AsyncClient("http://robots.example.org")
    with pytest.raises(InvalidConfig, match="ALL_PROXY"):
        RayBackend("http://head.example.org:8265")
    assert main(["models", "aliases", "reach", "--url", "http://robots.example.org"]) == 2
    assert "wtl: ALL_PROXY: expected" in capsys.readouterr().err


def test_a_proxy_that_can_be_used_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://" + NOWHERE)
    with http_client("http://robots.example.org") as http, pytest.raises(httpx.ConnectError):
        http.get("/")


def test_what_is_on_this_machine() -> None:
    for url in ("http://localhost:8000", "https://LOCALHOST.", "127.0.0.1:8265", "http://127.9.9.9", "http://[::1]:80"):
        assert is_loopback(url)
    for url in ("http://localhost.example.org", "http://10.0.0.1", "robots:8000", "http://0.0.0.0:8000", ""):
        assert not is_loopback(url)


def test_proxies_are_hidden_only_for_this_machine_and_only_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", BAD[0])
    with without_proxies("http://127.0.0.1:8265"):
        assert "ALL_PROXY" not in os.environ
    with without_proxies("http://head:8265"):
        assert os.environ["ALL_PROXY"] == BAD[0]
    assert os.environ["ALL_PROXY"] == BAD[0]
