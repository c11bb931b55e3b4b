"""Whatever comes out of a sandbox, the server takes it for a sandbox that failed, and goes on."""

from __future__ import annotations

import json
import os
import socket
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fuzz.hostile import INTEGERS, mangled
from reapi_local.execute.sandbox.slot.slot_messages import receive_message, send_message

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from(INTEGERS) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
RANDOMS = st.randoms(use_true_random=False)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def received(data: bytes, descriptors: list[int]) -> Any:
    """What is received of a message: an object, or the error that it is to be told from others."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = open_descriptors()
    with ours, theirs:
        socket.send_fds(theirs, [data], descriptors)
        try:
            message, taken = receive_message(ours, 2**20)
        except (EOFError, ValueError) as error:
            assert open_descriptors() == before
            return error
        for descriptor in taken:
            os.close(descriptor)
        assert open_descriptors() == before
    assert isinstance(message, dict)
    return message


@given(JSON, RANDOMS, st.integers(0, 3), st.sampled_from([b"i", b"m", b""]))
def test_any_message_is_an_object_or_an_error(
    content: Any, random: Random, count: int, kind: bytes
) -> None:
    body = json.dumps(content).encode()
    sent = mangled(random, body) if random.random() < 0.5 else body
    with open(os.devnull, "rb") as null, open(os.memfd_create("body"), "wb") as file:
        file.write(sent)
        file.flush()
        last = random.choice((null.fileno(), file.fileno()))
        received(kind + sent[: 32 * 1024], [null.fileno()] * count + [last])


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_every_object_arrives_as_it_was_sent(content: dict[str, Any]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        send_message(theirs, content)
        message, descriptors = receive_message(ours)
    assert (json.dumps(message), descriptors) == (json.dumps(content), [])
