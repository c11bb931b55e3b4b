"""A seccomp filter against system calls that no action needs and whose bugs break sandboxes.

Calls that need a capability aren't listed, because actions have no capabilities. About most calls
the filter decides by their number only, so since Linux 5.11 the kernel caches its decision, and
allowed calls cost nothing. The exceptions are calls whose first argument decides:

- prlimit takes a pid: an action that changes the limits of PID 1, its slot, would limit all later
  actions.
- socket and socketpair take an address family: network namespaces don't separate all of them. With
  AF_VSOCK an action without network could reach the hypervisor.
- socketcall, which only 32-bit programs have, does the same as these two, but a filter can't see
  the family: it is in memory. So it makes no sockets at all.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

_X86_64: Final = 0xC000003E
_I386: Final = 0x40000003
_AARCH64: Final = 0xC00000B7
_ARM: Final = 0x40000028
_ARCHITECTURES: Final = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM)}

# Kernel keys (add_key, request_key, keyctl), perf_event_open, bpf, userfaultfd, fanotify_init, and
# io_uring (the same numbers everywhere).
_IO_URING: Final = (425, 426, 427)
_DENIED: Final = {
    _X86_64: (248, 249, 250, 298, 321, 323, 300, *_IO_URING),
    _I386: (286, 287, 288, 336, 357, 374, 338, *_IO_URING),
    _AARCH64: (217, 218, 219, 241, 280, 282, 262, *_IO_URING),
    _ARM: (309, 310, 311, 364, 386, 388, 367, *_IO_URING),
}
_PRLIMIT: Final = {_X86_64: 302, _I386: 340, _AARCH64: 261, _ARM: 369}
_SOCKET_AND_SOCKETPAIR: Final = {
    _X86_64: (41, 53),
    _I386: (359, 360),
    _AARCH64: (198, 199),
    _ARM: (281, 288),
}
_SOCKETCALL: Final = {_I386: 102}
_SOCKETCALLS_THAT_MAKE_SOCKETS: Final = (1, 8)
_FAMILIES: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)

_X32: Final = 0x40000000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# Offsets in struct seccomp_data; of the first argument the lower half (little-endian). The kernel
# ignores the upper half, too: these arguments are ints.
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FIRST_ARGUMENT_OFFSET = 0, 4, 16
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_NO_SUCH_FAMILY: Final = 0x00050000 | errno.EAFNOSUPPORT
_KILL: Final = 0x80000000


class _Instruction(NamedTuple):
    """struct sock_filter: a jump skips as many instructions as its field says."""

    code: int
    if_true: int
    if_false: int
    operand: int


def deny_list() -> bytes:
    """A classic BPF program that refuses these calls; b"" on other architectures.

    A call fails with EPERM, an address family with EAFNOSUPPORT, as if the kernel didn't have it.
    """
    program = [_Instruction(_LOAD, 0, 0, _ARCHITECTURE_OFFSET)]
    for architecture in _ARCHITECTURES.get(os.uname().machine, ()):
        block = _block(architecture)
        program.append(_Instruction(_JUMP_EQUAL, 0, len(block), architecture))
        program.extend(block)
    if len(program) == 1:
        return b""
    program.append(_return(_KILL))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _block(architecture: int) -> list[_Instruction]:
    """Instructions that decide about a call of this architecture; each path ends in a return."""
    socketcall = [_SOCKETCALL[architecture]] if architecture in _SOCKETCALL else []
    block = [_Instruction(_LOAD, 0, 0, _NUMBER_OFFSET)]
    if architecture == _X86_64:  # x32 uses the same numbers with one more bit set
        block += [_Instruction(_JUMP_AT_LEAST, 0, 1, _X32), _return(_REFUSE)]
    for numbers, decision in (
        (_DENIED[architecture], [_return(_REFUSE)]),
        ([_PRLIMIT[architecture]], _by_first_argument([1], _REFUSE, _ALLOW)),
        (
            _SOCKET_AND_SOCKETPAIR[architecture],
            _by_first_argument(_FAMILIES, _ALLOW, _NO_SUCH_FAMILY),
        ),
        (
            socketcall,
            _by_first_argument(_SOCKETCALLS_THAT_MAKE_SOCKETS, _NO_SUCH_FAMILY, _ALLOW),
        ),
    ):
        block += _if_one_of(numbers, decision)
    return [*block, _return(_ALLOW)]


def _by_first_argument(values: Sequence[int], result: int, otherwise: int) -> list[_Instruction]:
    return [
        _Instruction(_LOAD, 0, 0, _FIRST_ARGUMENT_OFFSET),
        *_if_one_of(values, [_return(result)]),
        _return(otherwise),
    ]


def _if_one_of(values: Sequence[int], then: list[_Instruction]) -> list[_Instruction]:
    """Run ``then`` if the loaded value is one of these, else go on after it."""
    if not values:
        return []
    last = len(values) - 1
    checks = [
        _Instruction(_JUMP_EQUAL, last - index, 0 if index < last else len(then), value)
        for index, value in enumerate(values)
    ]
    return [*checks, *then]


def _return(action: int) -> _Instruction:
    return _Instruction(_RETURN, 0, 0, action)
