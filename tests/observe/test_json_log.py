"""The log as JSON objects."""

from __future__ import annotations

import json
import logging
import sys

from reapi_local.observe.json_log import JsonFormatter


def test_a_traceback_stays_on_its_line() -> None:
    try:
        raise KeyError("sn\u00f6\nflake \udcff")
    except KeyError:
        record = logging.LogRecord(
            "a.b", logging.ERROR, __file__, 1, "it %s\nfailed", ("réally",), sys.exc_info()
        )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert line.isascii()
    content = json.loads(line)
    assert list(content) == ["time", "level", "logger", "message", "exception"]
    assert content["message"] == "it réally\nfailed"
    assert content["exception"].startswith("Traceback")
    assert "snö" in content["exception"]


def test_the_time_is_in_utc() -> None:
    record = logging.LogRecord("a", logging.INFO, __file__, 1, "x", None, None)
    record.created = 1_700_000_000.125
    assert json.loads(JsonFormatter().format(record))["time"] == "2023-11-14T22:13:20.125+00:00"
