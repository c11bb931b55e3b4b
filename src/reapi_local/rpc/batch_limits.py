"""How large a batch may be: its answer fits into the messages that every gRPC client accepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from google.rpc import status_pb2

from reapi_local.errors import TooLarge
from reapi_local.protocol.digest import Digest
from reapi_local.threads import in_slices

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""The longest message that gRPC clients accept, unless they are told otherwise."""

MAX_BATCH_BYTES: Final = 2 * 1024 * 1024
"""The most content in one batch. The other half of a message is for digests and statuses."""

_ITEM_BYTES: Final = 32
"""The most that an item takes in addition to its content and the text of its hash."""

_KEY_BYTES_WITHOUT_HASH: Final = 9


class _Item(Protocol):
    @property
    def status(self) -> status_pb2.Status: ...


class _Answer(Protocol):
    @property
    def responses(self) -> Sequence[_Item]: ...

    def ByteSize(self) -> int: ...


def check_content(content_bytes: int) -> None:
    """Raise TooLarge if a batch with so much content is over the limit in Capabilities."""
    if content_bytes > MAX_BATCH_BYTES:
        raise TooLarge(
            f"the batch has {content_bytes} bytes of content, but {MAX_BATCH_BYTES} are allowed "
            "(Capabilities, max_batch_total_size_bytes); send fewer blobs per call, or use "
            "ByteStream"
        )


def check_answer(digests: Sequence[Digest], content_bytes: int = 0) -> None:
    """Raise TooLarge if the answer about these blobs, with their content, would be too long."""
    hashes = 2 * (sum(map(len, digests)) - _KEY_BYTES_WITHOUT_HASH * len(digests))
    encoded = content_bytes + hashes + _ITEM_BYTES * len(digests)
    if encoded > MAX_MESSAGE_BYTES:
        raise TooLarge(
            f"the answer about these {len(digests)} blobs could take {encoded} bytes with their "
            f"digests and statuses, but clients accept messages of {MAX_MESSAGE_BYTES}; name fewer "
            "blobs per call"
        )


async def shorten_messages(answer: _Answer) -> None:
    """Drop the messages of the statuses if the answer to a batch would be too long with them."""
    if answer.ByteSize() > MAX_MESSAGE_BYTES:
        async for part in in_slices(answer.responses):
            for item in part:
                item.status.ClearField("message")
