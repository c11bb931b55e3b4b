"""Blobs come whole, however little of them one read of their file brings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contexts import context
from reapi_local.protocol.digest import digest_of
from store.helpers import generation_store

FEW = 4096
"""What the page cache holds when it has dropped most of a file."""


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="no preadv, so nothing reads short")
async def test_a_large_blob_of_which_little_is_cached_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(200_000)
    digest = digest_of(data)
    preadv = os.preadv

    def short(fd: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        return preadv(fd, [memoryview(buffers[0])[:FEW]], offset, flags)

    async with generation_store(tmp_path) as store:
        assert await store.write_many(context(), [(digest, data)]) == {}
        monkeypatch.setattr(os, "preadv", short)
        assert (await store.read_many(context(), [digest]))[digest] == data
