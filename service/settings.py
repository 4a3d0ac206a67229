"""Settings of one server: frozen values from arguments, `WTL_...` environment variables, or files of secrets."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

RuntimeName = Literal["auto", "torch", "onnx"]
StreamListener = Literal["auto", "picows", "websockets"]
SHIPPED_MODELS = (Path(__file__).parent / "shipped_models").resolve()
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_RATE = re.compile(rf"([1-9][0-9]*)/({'|'.join(_SECONDS)})")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_OWN_PATHS = (["v1"], ["docs"], ["openapi.json"], ["livez"], ["readyz"], ["metrics"], ["console"])


def _split(value: object) -> object:
    """Split `a,b c` from the environment or a file; anything else is as it is."""
    return (
        tuple(re.split(r"[,\s]+", value.strip(" ,\n\t"))) if isinstance(value, str) and value.strip() else value or ()
    )


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def parse_rate(text: str) -> tuple[int, int]:
    """Return the number of requests in a window and its seconds, of a number, a slash and a unit. Raises ValueError."""
    found = _RATE.fullmatch(text)
    if found is None:
        units = ", ".join(_SECONDS)
        raise ValueError(f"expected a rate, as in 100/second or 5000/minute; got {text!r} (units: {units})")
    return int(found[1]), _SECONDS[found[2]]


MOST_CANDIDATES = 4096
"""The largest `max_candidates`: more are refused before each of them is looked at."""


class Settings(BaseSettings):
    """The settings of a server.

    A file `wtl_database` in the folder `WTL_SECRETS_DIR` sets `database`, and so on. The environment takes precedence.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="WTL_", protected_namespaces=())

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free one")
    data: Path = Field(Path("data"), description="folder of the server's state; created if absent")
    models: Path = Field(SHIPPED_MODELS, description="folder with one bundle folder per model")
    database: str | None = Field(
        None, repr=False, description="URL of the database; a SQLite file in the data folder if absent"
    )
    episodes: str | None = Field(None, description="folder or fsspec URL of the episodes; DATA/episodes if absent")
    bundles: str | None = Field(None, description="folder or fsspec URL of the registered bundles; DATA/bundles")
    allow_unauthenticated: bool = Field(False, description="serve other machines without API keys")
    key_cache_s: float = Field(5.0, ge=0, description="time that a key is cached, so a revoked one may still work")

    allowed_hosts: Names = Field(
        (),
        description="names that the server answers as beside those of loopback, as robots.example.org,*.lab",
    )
    allowed_origins: Names = Field(
        (), description="origins whose pages may use the server, as https://console.example.org; its own may"
    )
    root_path: str = Field("", description="prefix of its addresses behind a proxy, as /wtl; stripped or not")

    console: bool | None = Field(
        None, description="show the console at /console; absent: on loopback only, where nobody else can connect"
    )

    ray_address: str | None = Field(None, description="URL of Ray's Jobs API; training runs here if absent")
    ray_token: str | None = Field(None, repr=False, description="bearer token for Ray's Jobs API")

    adaptation_ttl_s: float = Field(24 * 3600.0, gt=0, description="time after its last use when an adaptation expires")
    sweep_every_s: float = Field(60.0, gt=0, description="interval at which expired adaptations are deleted")
    clock_settle_s: float = Field(
        3600.0, ge=0, description="time after a start in which nothing is deleted because of the time before it"
    )
    audit_ttl_s: float = Field(90 * 86400.0, gt=0, description="time that entries of the audit log are kept")

    max_body_bytes: int = Field(32 * 1024**2, gt=0, description="size of a request body, compressed or not")
    keep_alive_s: float = Field(
        75.0, gt=0, description="time that an idle connection stays open; longer than a load balancer keeps it"
    )
    body_timeout_s: float = Field(60.0, gt=0, description="time in which a request body must arrive")
    max_containers: int = Field(1_000_000, gt=0, description="lists and maps in one request body")
    max_episodes: int = Field(1000, gt=0, description="demos and trials of one adaptation")
    max_steps: int = Field(100_000, gt=0, description="steps of one episode, whatever the horizon of the model")
    max_rows: int = Field(4096, gt=0, description="observations in one act request")
    drift_watch: bool = Field(
        False, description="compare the actions of trials with the policy that was released, for /metrics"
    )
    max_candidates: int = Field(256, gt=0, le=MOST_CANDIDATES, description="candidates in one recognition")
    max_recognition_rows: int = Field(
        2_000_000,
        gt=0,
        description="hypotheses of candidates times steps in one recognition; 100,000 take 50 to 100 ms",
    )
    max_adaptations: int = Field(1_000_000, gt=0, description="adaptations of one tenant")
    max_storage_bytes: int = Field(100 * 1024**3, gt=0, description="size of the episodes of one tenant")
    rate: str = Field(
        "600000/minute",
        description="requests and frames with one key and process, in a second, minute, hour or day: 100/second",
    )
    tenant_streams: int = Field(1024, gt=0, description="WebSockets and event streams of one tenant, per process")
    streams: int = Field(4096, gt=0, description="WebSockets and event streams of all tenants, per process")

    stream_listener: StreamListener = Field(
        "auto", description="library that reads WebSockets; auto: picows if it is installed, else websockets"
    )

    log_format: Literal["text", "json"] = Field("text", description="lines for people, or JSON for machines")
    traces: bool = Field(False, description="send OpenTelemetry traces to where the OTEL_ variables say")
    drain_s: float = Field(0.0, ge=0, description="time after SIGTERM in which only /readyz fails")
    shutdown_s: float = Field(30.0, gt=0, description="time after that in which open requests may finish")
    min_free_bytes: int = Field(64 * 1024**2, ge=0, description="free disk space below which /readyz fails")

    datasets: str | None = Field(None, description="folder or fsspec URL of uploaded data sets; DATA/datasets")
    max_datasets: int = Field(100, ge=0, description="uploaded data sets of one tenant")
    max_dataset_bytes: int = Field(1024**3, gt=0, description="size of one uploaded data set")
    training_families: str = Field(
        "",
        description="modules and packages, separated by commas, whose families and networks clients may train",
    )
    runs: Path | None = Field(None, description="folder of training runs, shared with the cluster; DATA/runs if absent")
    train_command: str | None = Field(None, description="command to run instead of `wtl train`, in shell syntax")
    training_jobs: int = Field(1, ge=0, description="training jobs that run at a time; 0: this server runs none")
    training_queue: int = Field(100, gt=0, description="training jobs that may wait in the queue")
    training_poll_s: float = Field(1.0, gt=0, description="interval at which training jobs are polled")
    training_ttl_s: float = Field(
        30 * 24 * 3600.0, gt=0, description="time after its end when a training job is deleted"
    )

    runtime: RuntimeName = Field("auto", description="torch, onnx, or auto: torch if it is installed, else onnx")
    request_threads: int = Field(64, gt=0, description="threads that decode and store requests")
    connections: int = Field(16, gt=0, description="connections to the database")
    queue_size: int = Field(1024, gt=0, description="requests that may wait for inference; further ones get a 503")
    batch_rows: int = Field(1024, gt=0, description="observations in one forward pass of a policy")
    inference_timeout_s: float = Field(30.0, gt=0, description="time in which the model must answer a request")
    inline_batch_ms: float = Field(
        0.5,
        ge=0,
        description="duration up to which a forward pass runs on the event loop instead of the worker thread; "
        "for a request that is alone four times as long",
    )
    cached_model_versions: int = Field(4, ge=0, description="versions of models kept in memory beside the current ones")
    cached_adaptations: int = Field(16384, gt=0, description="rows of adaptations kept in memory")
    belief_cache_bytes: int = Field(64 * 1024**2, ge=0, description="size of the adapted policies kept in memory")
    cached_recordings: int = Field(4096, gt=0, description="episodes in progress kept in memory")

    @field_validator("root_path", mode="after")
    @classmethod
    def _is_a_prefix(cls, value: str) -> str:
        prefix = value.rstrip("/")
        if prefix and not _PREFIX.fullmatch(prefix):
            raise ValueError("a path as /wtl or /robots/wtl, of letters, digits, dots, dashes and underscores")
        if prefix.split("/")[1:2] in _OWN_PATHS:
            raise ValueError(f"a path that does not begin as the server's own, got {prefix}")
        return prefix

    @field_validator("rate")
    @classmethod
    def _is_a_rate(cls, value: str) -> str:
        parse_rate(value)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[Any, ...]:
        """Order the sources: arguments, then the environment, then the folder of secrets if there is one."""
        folder = os.environ.get("WTL_SECRETS_DIR")
        secrets = (SecretsSettingsSource(settings_cls, secrets_dir=folder),) if folder else ()
        return (init_settings, env_settings, *secrets)

    @property
    def database_url(self) -> str:
        """URL of the database."""
        return self.database or f"sqlite:///{self.data / 'service.sqlite3'}"

    @property
    def episodes_url(self) -> str:
        """Folder or URL of the episodes."""
        return self.episodes or str(self.data / "episodes")

    @property
    def bundles_url(self) -> str:
        """Folder or URL of the registered bundles."""
        return self.bundles or str(self.data / "bundles")

    @property
    def datasets_url(self) -> str:
        """Folder or URL of the uploaded data sets."""
        return self.datasets or str(self.data / "datasets")

    @property
    def family_modules(self) -> tuple[str, ...]:
        """The modules and packages whose families clients may train."""
        return tuple(one.strip() for one in self.training_families.split(",") if one.strip())

    @property
    def shows_console(self) -> bool:
        """True if the server has the console at /console."""
        return self.loopback if self.console is None else self.console

    @property
    def loopback(self) -> bool:
        """True if only this machine can connect."""
        return self.host in LOOPBACK or self.host.startswith("127.")
