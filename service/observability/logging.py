"""One log for the whole process: lines for people or JSON for machines, with the request id.

Callers must not log bodies or keys.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any, Literal, TextIO

import structlog
from structlog.types import Processor

LogFormat = Literal["text", "json"]


@contextmanager
def configured(log_format: LogFormat) -> Iterator[None]:
    """Configure logging, and restore the root logger after the block."""
    handlers, level = logging.root.handlers[:], logging.root.level
    configure(log_format)
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


def configure(log_format: LogFormat, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send the records of structlog, uvicorn and the standard library to one handler."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        _without_colours,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = (
        [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [
            _printable,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=_traceback),
        ]
    )
    handler = logging.StreamHandler(stream)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler.setFormatter(formatter)
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for name in ("httpx", "httpcore", "alembic"):  # a line per poll of the cluster is noise
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.error").addFilter(_is_no_refusal)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """Filter out uvicorn's error about a WebSocket that was refused with a status instead of a handshake."""
    return record.msg != "ASGI callable returned without completing handshake."


def _without_colours(_: Any, __: str, record: Any) -> Any:
    """Remove uvicorn's second copy of the message, which has terminal codes."""
    record.pop("color_message", None)
    return record


def _printable(_: Any, __: str, record: Any) -> Any:
    """Escape what a terminal would obey, as a client's words may have it: codes, and marks that turn lines around."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in record.items()}


def _traceback(stream: TextIO, error: Any) -> None:
    written = StringIO()
    structlog.dev.plain_traceback(written, error)
    stream.write(_escaped(written.getvalue()))


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)
