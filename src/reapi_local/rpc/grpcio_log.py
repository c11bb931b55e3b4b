"""What grpcio logs about calls that their clients have left, which is no error of this server."""

from __future__ import annotations

import logging
from typing import Final

_LOGGER: Final = "grpc._cython.cygrpc"
_CANT_BE_SENT: Final = "ExecuteBatchError"
"""The library doesn't export it."""


def leave_out_answers_without_receivers() -> None:
    """Keep the tracebacks of answers that can't be sent any more out of the log.

    grpcio logs one as an ERROR when it sends a message of a call that has ended, so at each read
    that a client cancels.
    """
    logging.getLogger(_LOGGER).addFilter(_is_worth_logging)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    return not (record.exc_info and type(record.exc_info[1]).__name__ == _CANT_BE_SENT)
