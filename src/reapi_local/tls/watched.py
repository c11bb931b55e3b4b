"""Takes over certificates when their files change, while the server runs."""

from __future__ import annotations

import logging
import os
from threading import Lock

from reapi_local.tls.pem_files import Tls, TlsPaths, UnusableTls, read_tls

_log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int] | None


class WatchedTls:
    """The files as they were when they could be used last.

    Raises:
        UnusableTls: they can't be used now, at the start.
    """

    def __init__(self, paths: TlsPaths) -> None:
        self.paths = paths
        self._lock = Lock()
        self._stamps = self._now()
        self._current = read_tls(paths)

    def latest(self) -> Tls:
        """What the files hold now, the same object as before if none of them changed.

        Files that can't be used are logged once, and change nothing. May be called from any thread:
        gRPC asks before each handshake.
        """
        with self._lock:
            stamps = self._now()
            if stamps != self._stamps:
                # Before they are read: a file that changes meanwhile is read again the next time.
                self._stamps = stamps
                self._read()
            return self._current

    def _read(self) -> None:
        try:
            self._current = read_tls(self.paths)
        except UnusableTls as error:
            _log.warning("the certificates that were loaded before stay in use: %s", error)
        else:
            until = self._current.valid_until
            _log.info("new certificates were loaded, valid until %s", f"{until:%Y-%m-%d}")

    def _now(self) -> tuple[_Stamp, ...]:
        paths = self.paths
        return tuple(map(_stamp, (paths.certificate, paths.key, paths.client_ca)))


def _stamp(path: str) -> _Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
