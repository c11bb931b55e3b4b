"""A port that is kept for one server: sockets are bound to it, which do not listen.

While a program has such a socket, nobody else can listen on the port, and who connects is refused
at once. Only in the block of `opened` can a listener join. After a crash another process still has
the sockets; with them the next server joins its predecessor's port, and nobody can come between.

This is how Linux decides who may bind a port that a socket is bound to (``inet_bind_conflict`` in
net/ipv4/inet_connection_sock.c): anybody, if both have SO_REUSEADDR and the first doesn't listen;
and the same user, if both have SO_REUSEPORT.
"""

from __future__ import annotations

import errno
import random
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from reapi_local.compose.ports import PortTaken, bind_address

_IS_POSSIBLE: Final = sys.platform == "linux"
_NOT_OF_THIS_MACHINE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_WILDCARDS: Final = ("0.0.0.0", "::")
_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class Reservation:
    """Sockets that are bound to `port`, on all addresses of a host.

    `inherited`: those of the last server; `fresh`: the others. Other systems than Linux know
    nothing like it: there it has no sockets, and another program may take the port at any time.
    """

    def __init__(
        self, port: int, fresh: Sequence[socket.socket], inherited: Sequence[socket.socket]
    ) -> None:
        self.port = port
        self.fresh, self.inherited = fresh, inherited
        self._is_shared = bool(inherited) and _can_end_sharing(port, inherited)

    @contextmanager
    def opened(self) -> Iterator[bool]:
        """Let a listener join in the block. Gives whether it needs SO_REUSEPORT.

        It does if the port was inherited: nobody but this user can listen, not even for a moment.
        A listener on all addresses does without, because then everything else on the port would
        stay open to other programs of the user for as long as the server runs.
        """
        option = socket.SO_REUSEPORT if self._is_shared else socket.SO_REUSEADDR
        for one in self.inherited:
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            yield self._is_shared
        finally:
            for one in (*self.fresh, *self.inherited):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
            if self._is_shared:
                _end_sharing(self.port)

    def close(self) -> None:
        """Give up what was not inherited."""
        for one in self.fresh:
            one.close()


def reserve(host: str, port: int, inherited: Iterable[socket.socket]) -> Reservation:
    """Reserve a port (0 = any) for one listener on all addresses of a host.

    `inherited`: sockets of the last server, of which those are taken that fit.

    Raises:
        PortTaken: another program has it, or the host has no address on this machine.
    """
    own = {(one.family, *one.getsockname()[:2]): one for one in inherited}
    fresh: list[socket.socket] = []
    taken: list[socket.socket] = []
    failure: Exception = OSError("it has no address")
    try:
        for family, address in _addresses(host):
            if one := own.get((family, address[0], port)):
                taken.append(one)
                continue
            try:
                one = bind_address(family, (address[0], port, *address[2:]))
            except OSError as error:
                if error.errno not in _NOT_OF_THIS_MACHINE:
                    raise
                failure = error
                continue
            fresh.append(one)
            port = one.getsockname()[1]
        if not (fresh or taken):
            raise failure
    except (OSError, OverflowError, UnicodeError) as error:
        for one in fresh:
            one.close()
        raise PortTaken(host, port, error) from error
    if not _IS_POSSIBLE:
        for one in fresh:
            one.close()
        return Reservation(port, (), ())
    return Reservation(port, fresh, taken)


def _addresses(host: str) -> list[_Address]:
    """The addresses on which a listener on `host` listens; grpcio takes 0.0.0.0 for all of them."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = [(family, address) for family, _, _, _, address in found]
    if host == "0.0.0.0":
        addresses.append((socket.AF_INET6, ("::", 0, 0, 0)))
    return list(dict.fromkeys(addresses))


def _can_end_sharing(port: int, sockets: Iterable[socket.socket]) -> bool:
    if any(one.getsockname()[0] in _WILDCARDS for one in sockets):
        return False
    return _end_sharing(port)


def _end_sharing(port: int) -> bool:
    """Let the kernel look at the sockets of a port again; whether that succeeded.

    Once two have shared a port, it lets others of the same user join without a look at what the
    sockets allow, until one is bound that does not share: here, for a moment, at an address that
    nobody uses.
    """
    for _ in range(10):
        unused = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        with socket.socket() as other, suppress(OSError):
            other.bind((unused, port))
            return True
    return False
