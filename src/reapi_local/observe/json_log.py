"""The log for programs: one JSON object a line."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """Keys: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``; ``exception`` if any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # Escaped to ASCII: whatever the encoding of standard error is, no character gets lost.
        return json.dumps(line)
