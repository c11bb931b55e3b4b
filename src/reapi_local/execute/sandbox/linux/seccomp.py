"""A seccomp filter against system calls that no action needs and whose bugs break sandboxes.

Calls that need a capability aren't listed, because actions have no capabilities. The filter looks
at the number of a call only, so since Linux 5.11 the kernel caches its decision and allowed calls
cost nothing. The exception is prlimit, whose first argument is a pid: an action that changes the
limits of PID 1, its slot, would limit all later actions.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

_X86_64: Final = 0xC000003E
_I386: Final = 0x40000003
_AARCH64: Final = 0xC00000B7
_ARM: Final = 0x40000028

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
_ARCHITECTURES: Final = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM)}

_X32: Final = 0x40000000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# Offsets in struct seccomp_data; of the first argument the lower half (little-endian).
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FIRST_ARGUMENT_OFFSET = 0, 4, 16
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_KILL: Final = 0x80000000


def deny_list() -> bytes:
    """A classic BPF program that refuses these calls with EPERM; b"" on other architectures."""
    program: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, _ARCHITECTURE_OFFSET)]
    for architecture in _ARCHITECTURES.get(os.uname().machine, ()):
        block = _block(architecture)
        program.append((_JUMP_EQUAL, 0, len(block), architecture))
        program.extend(block)
    if len(program) == 1:
        return b""
    program.append((_RETURN, 0, 0, _KILL))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _block(architecture: int) -> list[tuple[int, int, int, int]]:
    """Instructions that decide about a call of this architecture; each path ends in a return."""
    prlimit_of_pid_1 = [
        (_JUMP_EQUAL, 0, 2, _PRLIMIT[architecture]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_OFFSET),
        (_JUMP_EQUAL, 1, 0, 1),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    to_refusal = len(prlimit_of_pid_1) - 1
    numbers = [(_JUMP_EQUAL, number) for number in reversed(_DENIED[architecture])]
    if architecture == _X86_64:  # x32 uses the same numbers with one more bit set
        numbers.append((_JUMP_AT_LEAST, _X32))
    checks = [(jump, to_refusal + after, 0, number) for after, (jump, number) in enumerate(numbers)]
    return [(_LOAD, 0, 0, _NUMBER_OFFSET), *reversed(checks), *prlimit_of_pid_1]
