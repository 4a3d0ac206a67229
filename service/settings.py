"""Settings of one server: frozen values, from arguments or `WTL_...` environment variables."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SHIPPED_MODELS = Path(__file__).resolve().parent.parent / "models"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Settings(BaseSettings):
    """Everything that decides how a server behaves."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="WTL_", protected_namespaces=())

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    data: Path = Field(Path("data"), description="folder of the database and the episodes; made if absent")
    models: Path = Field(SHIPPED_MODELS, description="folder with one bundle folder per model")
    allow_unauthenticated: bool = Field(False, description="serve other machines although nobody needs a key")

    session_ttl_s: float = Field(24 * 3600.0, gt=0, description="an adaptation expires so long after its last use")
    sweep_every_s: float = Field(60.0, gt=0, description="how often expired adaptations are deleted")

    max_body_bytes: int = Field(32 * 1024**2, gt=0, description="of a request, compressed or not")
    max_containers: int = Field(1_000_000, gt=0, description="lists and maps in one request body")
    max_episodes: int = Field(1000, gt=0, description="demos and trials of one adaptation")
    max_rows: int = Field(4096, gt=0, description="observations in one act request")

    log_format: Literal["text", "json"] = Field("text", description="lines for people, or JSON for machines")
    traces: bool = Field(False, description="send OpenTelemetry traces; the OTEL_ variables say where")
    drain_s: float = Field(0.0, ge=0, description="after SIGTERM go on so long, not ready any more, before refusing")
    shutdown_s: float = Field(30.0, gt=0, description="then wait so long for requests in progress")
    min_free_bytes: int = Field(64 * 1024**2, ge=0, description="with less room on the disk the server is not ready")

    threads: int = Field(64, gt=0, description="requests decoded and stored side by side")
    queue_size: int = Field(1024, gt=0, description="inference jobs waiting; beyond it the server says it is busy")
    batch_rows: int = Field(1024, gt=0, description="observations in one pass through a policy")
    inference_timeout_s: float = Field(30.0, gt=0)
    short_pass_ms: float = Field(
        0.5, ge=0, description="a pass known to be no longer than this runs on the event loop, not in the worker thread"
    )
    belief_bytes: int = Field(64 * 1024**2, ge=0, description="of understood contexts kept in memory")
    recordings: int = Field(4096, gt=0, description="episodes in progress kept in memory")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK or self.host.startswith("127.")
