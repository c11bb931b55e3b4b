"""A program that tries to make sockets of every address family, in every way that there is.

Standard library only: actions run it with the system's Python.
"""

from __future__ import annotations

CALLS_OF_32_BITS = r'''
import ctypes, mmap, os


def call_of_32_bits():
    """int 0x80 with a number and three arguments, and memory that it can address."""
    memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, 7)  # MAP_32BIT
    # push rbx; mov eax, edi; mov ebx, esi; mov r8d, ecx; mov ecx, edx; mov edx, r8d; int 0x80;
    # pop rbx; cdqe; ret
    code = bytes.fromhex("53 89f8 89f3 4189c8 89d1 4489c2 cd80 5b 4898 c3")
    memory[: len(code)] = code
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    function = ctypes.CFUNCTYPE(ctypes.c_long, *(ctypes.c_long,) * 4)(address)
    return memory, address, function


def has_32_bits(function):
    child = os.fork()
    if not child:
        function(20, 0, 0, 0)  # getpid; a kernel without 32-bit programs kills the process
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0
'''
"""For x86-64: ``call_of_32_bits`` and ``has_32_bits``."""

MAKE_SOCKETS_OF_ALL_FAMILIES = (
    CALLS_OF_32_BITS
    + r"""
import json, struct

FAMILIES, TYPES = range(1, 64), (1, 2, 3, 4, 5)
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def socket(family, kind):
    return libc.socket(family, kind, 0)


def socketpair(family, kind):
    return libc.socketpair(family, kind, 0, (ctypes.c_int * 2)())


def number(of_x86_64, of_aarch64):
    return ctypes.c_long(of_x86_64 if os.uname().machine == "x86_64" else of_aarch64)


def family_with_an_upper_half(family, kind):
    rest = ctypes.c_long(kind), ctypes.c_long(0)
    return libc.syscall(number(41, 198), ctypes.c_long(family | 1 << 32), *rest)


def x32(family, kind):
    rest = ctypes.c_long(family), ctypes.c_long(kind), ctypes.c_long(0)
    return libc.syscall(ctypes.c_long(0x40000000 | 41), *rest)


def socket_of_32_bits(family, kind):
    return function(359, family, kind, 0)


def socketcall(family, kind):
    memory[2048:2060] = struct.pack("III", family, kind, 0)
    return function(102, 1, address + 2048, 0)


def socketcall_for_a_pair(family, kind):
    memory[2048:2064] = struct.pack("IIII", family, kind, 0, address + 3072)
    return function(102, 8, address + 2048, 0)


ways = [socket, socketpair, family_with_an_upper_half]
if os.uname().machine == "x86_64":
    ways.append(x32)
    memory, address, function = call_of_32_bits()
    if has_32_bits(function):
        ways += [socket_of_32_bits, socketcall, socketcall_for_a_pair]
got = {way.__name__: set() for way in ways}
for way in ways:
    for family in FAMILIES:
        if any(way(family, kind) >= 0 for kind in TYPES):
            got[way.__name__].add(family)
print(json.dumps({name: sorted(families) for name, families in got.items()}))
"""
)
