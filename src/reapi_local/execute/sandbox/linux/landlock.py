"""Landlock: rights that a process takes from itself, and so from all that it starts; landlock(7).

It needs no privilege, only that no_new_privs is set. Slots and supervisors load this module, so it
uses the standard library only. Each function raises OSError where the kernel can't do it; the
error's file name is the call that failed.
"""

from __future__ import annotations

import ctypes
import os

# Calls added since Linux 5.0 have the same number on every architecture.
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446

_NET_PORT = 2
_CONNECT_AND_BIND = 3
_SCOPE_ABSTRACT_UNIX_SOCKET = 1
_PORTS = 1 << 16

# Unlike CDLL it keeps the interpreter lock. Tens of thousands of short calls that each give it away
# would wait for a busy event loop as many times.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def block_abstract_sockets() -> None:
    """Block connections to abstract unix sockets of processes that this one didn't start.

    Since ABI 6 (Linux 6.12).
    """
    ruleset = _create_ruleset(scopes=_SCOPE_ABSTRACT_UNIX_SOCKET)
    try:
        restrict_self(ruleset)
    finally:
        os.close(ruleset)


def ruleset_that_closes(ports: frozenset[int]) -> int:
    """The descriptor of a ruleset: TCP sockets can be neither connected nor bound to these ports.

    Since ABI 4 (Linux 6.7). It takes some 50 ms, because Landlock knows only what it allows: each
    other port has a rule. Port 0 is one of them: it stands for any free port.
    """
    ruleset = _create_ruleset(network=_CONNECT_AND_BIND)
    rule = (ctypes.c_uint64 * 2)(_CONNECT_AND_BIND, 0)
    arguments = (*map(ctypes.c_long, (_ADD_RULE, ruleset, _NET_PORT)), rule, ctypes.c_long(0))
    try:
        for port in range(_PORTS):
            if port not in ports:
                rule[1] = port
                _check(_libc.syscall(*arguments), "landlock_add_rule")
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def restrict_self(ruleset: int) -> None:
    """Take the rights from this thread, for good.

    If each port has a rule, it takes 20 ms, and 5 MB of the kernel's memory until the last process
    that inherits it has ended.
    """
    arguments = map(ctypes.c_long, (_RESTRICT_SELF, ruleset, 0))
    _check(_libc.syscall(*arguments), "landlock_restrict_self")


def _create_ruleset(network: int = 0, scopes: int = 0) -> int:
    attributes = (ctypes.c_uint64 * 3)(0, network, scopes)
    # An older kernel knows fewer fields, and wants those that it doesn't know to be absent or 0.
    size = ctypes.sizeof(attributes)
    arguments = (ctypes.c_long(_CREATE_RULESET), attributes, ctypes.c_long(size), ctypes.c_long(0))
    return _check(_libc.syscall(*arguments), "landlock_create_ruleset")


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)
    return result
