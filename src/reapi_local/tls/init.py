"""Writes an authority and the pairs that it signs into a directory.

``server.pem`` also holds the authority, so that it tells clients whom to trust.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from reapi_local.tls import issuing
from reapi_local.tls.issuing import Pair
from reapi_local.tls.names import AUTHORITY, SERVER, certificate_file, client, key_file
from reapi_local.tls.pem_files import TlsPaths, UnusableTls, read_tls

_HOST_NAME: Final = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9_])?")
_CLIENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class NotMade(Exception):
    """The files can't be made as asked; the message says why, and what to do."""


@dataclass
class Initialised:
    """What a directory has now. ``hosts``: whom the server's certificate is for."""

    directory: Path
    hosts: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    def certificate(self, name: str) -> Path:
        return self.directory / certificate_file(name)

    def key(self, name: str) -> Path:
        return self.directory / key_file(name)


def init(
    directory: Path, hosts: Sequence[str], clients: Sequence[str], *, renew: bool
) -> Initialised:
    """Make what is missing. Files that exist are kept.

    ``hosts``: for whom the server's certificate is, in addition to this machine. ``renew``: make
    the pairs of the server and of ``clients`` anew; the authority stays, so clients trust them.

    Raises:
        NotMade: a name can't be used, a file can't be written, or one that is kept isn't as asked.
    """
    for host in hosts:
        if not _is_host(host):
            raise NotMade(
                f"{host!r} is neither a host name nor an address; write it without a scheme and a "
                "port, and letters that ASCII doesn't have as xn--…"
            )
    for name in clients:
        if not _CLIENT_NAME.fullmatch(name):
            raise NotMade(
                f"{name!r} can't name a client; take at most 64 letters, digits and . _ @ -"
            )
    done = Initialised(directory, clients=tuple(clients))
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(done, hosts, renew=renew)
    except OSError as error:
        raise NotMade(
            f"{error.filename or directory}: {error.strerror or error}; name another directory"
        ) from error
    return done


def _make(done: Initialised, hosts: Sequence[str], *, renew: bool) -> None:
    pairs = [SERVER, *map(client, done.clients)]
    there = {name for name in (AUTHORITY, *pairs) if _exists(done, name)}
    if AUTHORITY not in there and not renew:
        _must_be_absent(done, there)
    machine = [name for name in (socket.gethostname(),) if _is_host(name)]
    wanted = ["localhost", "127.0.0.1", "::1", *machine, *hosts]
    if SERVER in there:
        known = _hosts_of(done)
        wanted = [*known, *wanted] if renew else known
        _must_cover(done, hosts, wanted)
    done.hosts = tuple(dict.fromkeys(wanted))

    authority = _pair(
        done, AUTHORITY, lambda: issuing.make_authority(f"reapi-local on {socket.gethostname()}")
    )

    def make_server() -> Pair:
        made = issuing.make_server_pair(authority, done.hosts)
        return Pair(made.certificate + authority.certificate, made.key)

    _pair(done, SERVER, make_server, renew=renew)
    for name in done.clients:
        make = partial(issuing.make_client_pair, authority, name)
        _pair(done, client(name), make, renew=renew)


def _is_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _HOST_NAME.fullmatch(name) is not None
    return True


def _must_be_absent(done: Initialised, there: Collection[str]) -> None:
    """Pairs of an authority that is gone would not be trusted with the new one."""
    if there:
        raise NotMade(
            f"{done.certificate(min(there))} was signed by an authority that isn't there any more; "
            "--renew makes a new one"
        )


def _must_cover(done: Initialised, asked: Sequence[str], known: Sequence[str]) -> None:
    missing = [host for host in asked if host not in known]
    if missing:
        raise NotMade(
            f"{done.certificate(SERVER)} is for {', '.join(known)}, and not for "
            f"{', '.join(missing)}; --renew makes a new one for all of them"
        )


def _hosts_of(done: Initialised) -> list[str]:
    paths = TlsPaths(str(done.certificate(SERVER)), str(done.key(SERVER)))
    try:
        return list(read_tls(paths).names)
    except UnusableTls as error:
        raise NotMade(f"{error}; or delete both files, and run this again") from error


def _pair(done: Initialised, name: str, make: Callable[[], Pair], *, renew: bool = False) -> Pair:
    """The pair with this name, which is made if it is missing or to be renewed."""
    certificate, key = done.certificate(name), done.key(name)
    if _exists(done, name) and not renew:
        done.kept += [certificate, key]
        return Pair(certificate.read_bytes(), key.read_bytes())
    try:
        pair = make()
    except ValueError as error:
        raise NotMade(f"{certificate} can't be made: {error}") from error
    _write(key, pair.key, 0o600)
    _write(certificate, pair.certificate, 0o644)
    done.made += [certificate, key]
    return pair


def _exists(done: Initialised, name: str) -> bool:
    """Whether there is such a pair; raises NotMade if there is only half of it."""
    there = [path for path in (done.certificate(name), done.key(name)) if path.exists()]
    if len(there) == 1:
        raise NotMade(f"{there[0]} is there without the other file of its pair; move it away")
    return bool(there)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace the file atomically, so that a server that reads it now reads all of it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)
