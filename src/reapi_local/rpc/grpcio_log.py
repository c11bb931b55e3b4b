"""What grpcio logs of its clients' faults, which are no errors of this server."""

from __future__ import annotations

import logging
from typing import Final

_LOGGER: Final = "grpc._cython.cygrpc"
_FAULTS_OF_CLIENTS: Final = frozenset({"ExecuteBatchError", "UnicodeDecodeError"})
"""Of the first: an answer can't be sent any more, as at each read that its client cancels. Of the
second: the name of a header isn't UTF-8; the record quotes it, whatever it is."""


def leave_out_faults_of_clients() -> None:
    """Keep their tracebacks, which grpcio logs as ERROR, out of the log."""
    logging.getLogger(_LOGGER).addFilter(_is_of_the_server)


def _is_of_the_server(record: logging.LogRecord) -> bool:
    return not (record.exc_info and type(record.exc_info[1]).__name__ in _FAULTS_OF_CLIENTS)
