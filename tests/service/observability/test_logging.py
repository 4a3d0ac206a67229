"""The log: what a client's words may do to the terminal of whoever reads it."""

import io
import json
import logging

import pytest
import structlog

from service.observability.logging import LogFormat, configure, configured


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_words_of_clients_cannot_colour_or_turn_a_line_around(log_format: LogFormat) -> None:
    stream = io.StringIO()
    with configured(log_format):
        configure(log_format, stream)
        structlog.get_logger("of.test").warning("refused \x1b[31m", words="left\u202eright", found="größer")
        logging.getLogger("of.test.library").warning("GET /v1/%s", "\u2066models")
        try:
            raise ValueError("left\u202eright \x1b[2J")
        except ValueError:
            structlog.get_logger("of.test").exception("failed")
    printed = stream.getvalue()
    assert not {"\x1b", "\u202e", "\u2066"} & set(printed)
    assert "\\u202e" in printed and "models" in printed and "ValueError" in printed
    if log_format == "text":
        assert "größer" in printed
    else:
        assert json.loads(printed.splitlines()[0])["words"] == "left\u202eright"
