"""A seccomp filter against system calls that no action needs and whose bugs break sandboxes.

Calls that need a capability aren't listed, because actions have no capabilities. About most calls
the filter decides by their number only, so since Linux 5.11 the kernel caches its decision, and
allowed calls cost nothing. The exceptions are calls whose arguments decide:

- prlimit takes a pid: an action that changes the limits of PID 1, its slot, would limit all later
  actions.
- socket and socketpair take an address family: network namespaces don't separate all of them. With
  AF_VSOCK an action without network could reach the hypervisor.
- Landlock closes TCP ports to plain TCP sockets that connect. So nothing else may reach a TCP port:
  no protocol that socket makes on top of TCP (MPTCP, SMC), none that setsockopt puts on a TCP
  socket (TCP_ULP), and no send call that connects on its way (MSG_FASTOPEN).
- socketcall, which only 32-bit programs have, does the same as these calls, but a filter can't see
  its arguments: they are in memory. So it does none of this.
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
_SETSOCKOPT: Final = {_X86_64: 54, _I386: 366, _AARCH64: 208, _ARM: 294}
_SENDMSG: Final = {_X86_64: 46, _I386: 370, _AARCH64: 211, _ARM: 296}
_SENDTO_AND_SENDMMSG: Final = {
    _X86_64: (44, 307),
    _I386: (369, 345),
    _AARCH64: (206, 269),
    _ARM: (290, 374),
}
_SOCKETCALL: Final = {_I386: 102}
# socket, socketpair, sendto, setsockopt, sendmsg, sendmmsg
_REFUSED_SOCKETCALLS: Final = (1, 8, 11, 14, 16, 20)

_FAMILIES: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
_SMC: Final = 256
_MPTCP: Final = 262
_TCP_ULP: Final = 31
_MSG_FASTOPEN: Final = 0x20000000

_X32: Final = 0x40000000
_LOAD, _RETURN = 0x20, 0x06
_JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_IF_SET = 0x15, 0x35, 0x45
# Offsets in struct seccomp_data; of arguments the lower half (little-endian). The kernel ignores
# the upper half, too: these arguments are ints.
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET = 0, 4
_ARGUMENT_OFFSETS: Final = (16, 24, 32, 40)
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_NO_SUCH_FAMILY: Final = 0x00050000 | errno.EAFNOSUPPORT
_NO_SUCH_PROTOCOL: Final = 0x00050000 | errno.EPROTONOSUPPORT
_NO_SUCH_ULP: Final = 0x00050000 | errno.ENOENT
_NO_FAST_OPEN: Final = 0x00050000 | errno.EOPNOTSUPP
_KILL: Final = 0x80000000


class _Instruction(NamedTuple):
    """struct sock_filter: a jump skips as many instructions as its field says."""

    code: int
    if_true: int
    if_false: int
    operand: int


def deny_list() -> bytes:
    """A classic BPF program that refuses these calls; b"" on other architectures.

    A call fails with EPERM. What depends on arguments fails as if the kernel didn't have it.
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
        ([_PRLIMIT[architecture]], [*_by_argument(0, [1], _REFUSE), _return(_ALLOW)]),
        (_SOCKET_AND_SOCKETPAIR[architecture], _by_family_and_protocol()),
        ([_SETSOCKOPT[architecture]], _by_level_and_option()),
        ([_SENDMSG[architecture]], _by_flags(2)),
        (_SENDTO_AND_SENDMMSG[architecture], _by_flags(3)),
        (
            socketcall,
            [*_by_argument(0, _REFUSED_SOCKETCALLS, _NO_SUCH_FAMILY), _return(_ALLOW)],
        ),
    ):
        block += _if_one_of(numbers, decision)
    return [*block, _return(_ALLOW)]


def _by_family_and_protocol() -> list[_Instruction]:
    by_protocol = [*_by_argument(2, (_SMC, _MPTCP), _NO_SUCH_PROTOCOL), _return(_ALLOW)]
    return [_argument(0), *_if_one_of(_FAMILIES, by_protocol), _return(_NO_SUCH_FAMILY)]


def _by_level_and_option() -> list[_Instruction]:
    by_option = [*_by_argument(2, [_TCP_ULP], _NO_SUCH_ULP), _return(_ALLOW)]
    return [_argument(1), *_if_one_of([socket.SOL_TCP], by_option), _return(_ALLOW)]


def _by_flags(argument: int) -> list[_Instruction]:
    refuse = [_Instruction(_JUMP_IF_SET, 0, 1, _MSG_FASTOPEN), _return(_NO_FAST_OPEN)]
    return [_argument(argument), *refuse, _return(_ALLOW)]


def _by_argument(argument: int, values: Sequence[int], result: int) -> list[_Instruction]:
    """Decide ``result`` if the argument has one of these values, else go on after it."""
    return [_argument(argument), *_if_one_of(values, [_return(result)])]


def _argument(number: int) -> _Instruction:
    return _Instruction(_LOAD, 0, 0, _ARGUMENT_OFFSETS[number])


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
