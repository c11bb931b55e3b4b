"""A program that tries to reach a TCP port of the host in every way that there is, or to take it.

Standard library only: actions run it with the system's Python. Its argument is the port. It prints
the names of the ways that went through, as a JSON list.
"""

from __future__ import annotations

from execute.socket_attacks import CALLS_OF_32_BITS

PLAIN_WAYS = frozenset({"connect", "connect_to_any", "connect_by_ipv6", "connect_to_mapped"})
"""Without any protection these go through."""

TRY_ALL_WAYS_TO_A_PORT = (
    CALLS_OF_32_BITS
    + r'''
import json, socket, struct, sys

PORT = int(sys.argv[1])
MPTCP, SMC, TCP_ULP, FASTOPEN_CONNECT, FASTOPEN = 262, 256, 31, 30, 0x20000000
HERE = ("127.0.0.1", PORT)
NAME = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", PORT, b"\x7f\0\0\x01")
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def tcp(family=socket.AF_INET, protocol=0):
    return socket.socket(family, socket.SOCK_STREAM, protocol)


def connect():
    tcp().connect(HERE)


def connect_to_any():
    tcp().connect(("0.0.0.0", PORT))


def connect_by_ipv6():
    tcp(socket.AF_INET6).connect(("::1", PORT))


def connect_to_mapped():
    tcp(socket.AF_INET6).connect(("::ffff:127.0.0.1", PORT))


def mptcp():
    tcp(protocol=MPTCP).connect(HERE)


def mptcp_by_ipv6():
    tcp(socket.AF_INET6, MPTCP).connect(("::1", PORT))


def smc():
    tcp(protocol=SMC).connect(HERE)


def mptcp_on_tcp():
    on_tcp(b"mptcp").connect(HERE)


def smc_on_tcp():
    on_tcp(b"smc").connect(HERE)


def on_tcp(name):
    made = tcp()
    made.setsockopt(socket.SOL_TCP, TCP_ULP, name)
    return made


def fast_open_by_connect():
    made = tcp()
    made.setsockopt(socket.SOL_TCP, FASTOPEN_CONNECT, 1)
    made.connect(HERE)
    made.send(b"x")


def fast_open_by_sendto():
    tcp().sendto(b"x", FASTOPEN, HERE)


def fast_open_by_ipv6():
    tcp(socket.AF_INET6).sendto(b"x", FASTOPEN, ("::1", PORT))


def fast_open_by_sendmsg():
    tcp().sendmsg([b"x"], [], FASTOPEN, HERE)


def fast_open_by_sendmmsg():
    data, name = ctypes.create_string_buffer(b"x"), ctypes.create_string_buffer(NAME)
    piece = struct.pack("PN", ctypes.addressof(data), 1)
    pieces = ctypes.create_string_buffer(piece)
    header = ctypes.addressof(name), 16, ctypes.addressof(pieces), 1, 0, 0, 0, 0
    message = ctypes.create_string_buffer(struct.pack("PIPNPNiI", *header) + bytes(8))
    made = tcp()
    check(libc.sendmmsg(made.fileno(), message, 1, FASTOPEN))


def fast_open_with_an_upper_half():
    made = tcp()
    number = 44 if os.uname().machine == "x86_64" else 206
    flags = ctypes.c_long(FASTOPEN | 1 << 32)
    rest = ctypes.c_long(1), flags, ctypes.c_char_p(NAME), ctypes.c_long(16)
    check(libc.syscall(ctypes.c_long(number), ctypes.c_long(made.fileno()), b"x", *rest))


def take(family=socket.AF_INET, host="127.0.0.1", protocol=0):
    made = tcp(family, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((host, PORT))
    made.listen()


def bind():
    take()


def bind_to_any():
    take(host="0.0.0.0")


def bind_another_address():
    take(host="127.0.0.2")


def bind_by_ipv6():
    take(socket.AF_INET6, "::")


def bind_by_mptcp():
    take(protocol=MPTCP)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def from_32_bits(memory, address, function):
    """Ways of 32-bit programs. Memory: arguments at 2048, a socket address at 3072."""
    memory[3072:3088] = NAME

    def connect_of_32_bits():
        made = tcp()
        check(function(362, made.fileno(), address + 3072, 16))

    def socketcall_connect():
        made = tcp()
        memory[2048:2060] = struct.pack("III", made.fileno(), address + 3072, 16)
        check(function(102, 3, address + 2048, 0))

    def socketcall_sendto():
        made = tcp()
        arguments = made.fileno(), address + 3072, 1, FASTOPEN, address + 3072, 16
        memory[2048:2072] = struct.pack("IIIIII", *arguments)
        check(function(102, 11, address + 2048, 0))

    def sendmsg_of_32_bits():
        made = tcp()
        memory[2048:2056] = struct.pack("II", address + 3072, 1)
        memory[2560:2588] = struct.pack("IIIIIII", address + 3072, 16, address + 2048, 1, 0, 0, 0)
        check(function(370, made.fileno(), address + 2560, FASTOPEN))

    return connect_of_32_bits, socketcall_connect, socketcall_sendto, sendmsg_of_32_bits


ways = [
    *(connect, connect_to_any, connect_by_ipv6, connect_to_mapped),
    *(mptcp, mptcp_by_ipv6, mptcp_on_tcp, smc, smc_on_tcp),
    *(fast_open_by_connect, fast_open_by_sendto, fast_open_by_ipv6, fast_open_by_sendmsg),
    *(fast_open_by_sendmmsg, fast_open_with_an_upper_half),
    *(bind, bind_to_any, bind_another_address, bind_by_ipv6, bind_by_mptcp),
]
if os.uname().machine == "x86_64":
    memory, address, function = call_of_32_bits()
    if has_32_bits(function):
        ways += from_32_bits(memory, address, function)
went_through = []
for way in ways:
    try:
        way()
    except OSError as error:
        print(way.__name__, error, file=sys.stderr)
    else:
        went_through.append(way.__name__)
print(json.dumps(went_through))
'''
)
