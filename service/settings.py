"""Settings of one server: frozen values, from arguments, `WTL_...` environment variables, or files of secrets."""

import os
from pathlib import Path
from typing import Any, Literal

from limits import parse
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

RuntimeName = Literal["auto", "torch", "onnx"]
SHIPPED_MODELS = (Path(__file__).parent / "shipped_models").resolve()
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Settings(BaseSettings):
    """Everything that decides how a server behaves.

    A file `wtl_database` in the folder that `WTL_SECRETS_DIR` names is `database`, and so on; the environment wins.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="WTL_", protected_namespaces=())

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    data: Path = Field(Path("data"), description="folder of what is kept here; made if absent")
    models: Path = Field(SHIPPED_MODELS, description="folder with one bundle folder per model")
    database: str | None = Field(
        None, repr=False, description="URL of the database; a SQLite file in the data folder if absent"
    )
    episodes: str | None = Field(None, description="folder or fsspec URL of the episodes; DATA/episodes if absent")
    bundles: str | None = Field(None, description="folder or fsspec URL of the registered bundles; DATA/bundles")
    allow_unauthenticated: bool = Field(False, description="serve other machines although nobody needs a key")
    key_cache_s: float = Field(5.0, ge=0, description="so long may a revoked key still be let in")

    ray_address: str | None = Field(None, description="URL of Ray's Jobs API; training runs here if absent")
    ray_token: str | None = Field(None, repr=False, description="for Ray's Jobs API")

    adaptation_ttl_s: float = Field(24 * 3600.0, gt=0, description="an adaptation expires so long after its last use")
    sweep_every_s: float = Field(60.0, gt=0, description="how often expired adaptations are deleted")
    audit_ttl_s: float = Field(90 * 86400.0, gt=0, description="the audit log is kept so long")

    max_body_bytes: int = Field(32 * 1024**2, gt=0, description="of a request, compressed or not")
    body_timeout_s: float = Field(60.0, gt=0, description="a body that takes longer to come in is refused")
    max_containers: int = Field(1_000_000, gt=0, description="lists and maps in one request body")
    max_episodes: int = Field(1000, gt=0, description="demos and trials of one adaptation")
    max_steps: int = Field(100_000, gt=0, description="of one episode, whatever the horizon of the model")
    max_rows: int = Field(4096, gt=0, description="observations in one act request")
    max_adaptations: int = Field(1_000_000, gt=0, description="adaptations of one tenant")
    max_storage_bytes: int = Field(100 * 1024**3, gt=0, description="episodes of one tenant")
    rate: str = Field(
        "600000/minute", description="requests and frames with one key, as in 100/second; counted per process"
    )
    tenant_streams: int = Field(1024, gt=0, description="WebSockets and event streams of one tenant, per process")
    streams: int = Field(4096, gt=0, description="WebSockets and event streams of all tenants, per process")

    log_format: Literal["text", "json"] = Field("text", description="lines for people, or JSON for machines")
    traces: bool = Field(False, description="send OpenTelemetry traces; the OTEL_ variables say where")
    drain_s: float = Field(0.0, ge=0, description="after SIGTERM go on so long, not ready any more, before refusing")
    shutdown_s: float = Field(30.0, gt=0, description="then wait so long for requests in progress")
    min_free_bytes: int = Field(64 * 1024**2, ge=0, description="with less room on the disk the server is not ready")

    runs: Path | None = Field(None, description="folder of training runs, shared with the cluster; DATA/runs if absent")
    train_command: str | None = Field(None, description="what to run instead of `wtl train`, as a shell would read it")
    training_jobs: int = Field(1, ge=0, description="training jobs at a time; 0: this server trains nothing")
    training_queue: int = Field(100, gt=0, description="training jobs that wait")
    training_poll_s: float = Field(1.0, gt=0, description="how often training jobs are looked at")
    training_ttl_s: float = Field(
        30 * 24 * 3600.0, gt=0, description="a training job is forgotten so long after its end"
    )

    runtime: RuntimeName = Field("auto", description="torch, onnx, or auto: torch where it is installed, else onnx")
    threads: int = Field(64, gt=0, description="requests decoded and stored side by side")
    connections: int = Field(16, gt=0, description="connections to the database")
    queue_size: int = Field(1024, gt=0, description="inference jobs waiting; beyond it the server says it is busy")
    batch_rows: int = Field(1024, gt=0, description="observations in one pass through a policy")
    inference_timeout_s: float = Field(30.0, gt=0)
    inline_batch_ms: float = Field(
        0.5, ge=0, description="a pass known to be no longer than this runs on the event loop, not in the worker thread"
    )
    cached_model_versions: int = Field(
        4, ge=0, description="versions of models in memory that are not the current ones"
    )
    cached_adaptations: int = Field(16384, gt=0, description="rows of adaptations kept in memory")
    belief_cache_bytes: int = Field(64 * 1024**2, ge=0, description="of understood contexts kept in memory")
    cached_recordings: int = Field(4096, gt=0, description="episodes in progress kept in memory")

    @field_validator("rate")
    @classmethod
    def _is_a_rate(cls, value: str) -> str:
        try:
            parse(value)
        except ValueError as error:
            raise ValueError("a rate, as in 100/second or 5000/minute") from error
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
        """Arguments, then the environment, then the folder of secrets if one is named."""
        folder = os.environ.get("WTL_SECRETS_DIR")
        secrets = (SecretsSettingsSource(settings_cls, secrets_dir=folder),) if folder else ()
        return (init_settings, env_settings, *secrets)

    @property
    def database_url(self) -> str:
        """Where the state is."""
        return self.database or f"sqlite:///{self.data / 'service.sqlite3'}"

    @property
    def episodes_url(self) -> str:
        """Where the episodes are."""
        return self.episodes or str(self.data / "episodes")

    @property
    def bundles_url(self) -> str:
        """Where registered bundles are."""
        return self.bundles or str(self.data / "bundles")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK or self.host.startswith("127.")
