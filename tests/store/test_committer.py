"""Group commit: many writers, one thread, and each gets the outcome of its own batch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from reapi_local.errors import Draining, StorageFull
from reapi_local.store.local.committer import Committer
from reapi_local.store.local.index import Batch, Index, Table

SMALL_MAP = 32 * 1024 * 1024


@pytest.fixture
def committer() -> Iterator[Committer]:
    committer = Committer()
    yield committer
    committer.close()


@pytest.fixture
def indexes(tmp_path: Path) -> Iterator[list[Index]]:
    indexes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        indexes.append(Index(str(tmp_path / name), SMALL_MAP, durable=False))
    yield indexes
    for index in indexes:
        index.close()


def put(number: int, size: int = 8) -> Batch:
    return Batch(puts=[(Table.BLOBS, b"%08d" % number, b"x" * size)])


async def test_writers_to_several_indexes_all_find_their_batch_written(
    committer: Committer, indexes: list[Index]
) -> None:
    async def one(number: int) -> None:
        index = indexes[number % 2]
        await committer.commit(index, put(number))
        assert index.get(Table.BLOBS, b"%08d" % number) is not None

    await asyncio.gather(*(one(number) for number in range(2000)))


async def test_batches_are_written_in_the_order_they_came(
    committer: Committer, indexes: list[Index]
) -> None:
    batches = [Batch(puts=[(Table.META, b"last", b"%d" % number)]) for number in range(1500)]
    await asyncio.gather(*(committer.commit(indexes[0], batch) for batch in batches))
    assert indexes[0].get(Table.META, b"last") == b"1499"


async def test_a_batch_that_doesn_t_fit_fails_alone(
    committer: Committer, indexes: list[Index]
) -> None:
    outcomes = await asyncio.gather(
        *(
            committer.commit(indexes[0], put(number, 2 * SMALL_MAP if number == 7 else 8))
            for number in range(20)
        ),
        return_exceptions=True,
    )
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, StorageFull)] == [7]
    assert [outcome for outcome in outcomes if outcome is None] == [None] * 19
    assert len(indexes[0].keys(Table.BLOBS)) == 19
    await committer.commit(indexes[0], put(100))


async def test_a_batch_is_written_whole_or_not_at_all(
    committer: Committer, indexes: list[Index]
) -> None:
    batch = put(1)
    batch.puts += put(2, 2 * SMALL_MAP).puts
    with pytest.raises(StorageFull):
        await committer.commit(indexes[0], batch)
    assert indexes[0].keys(Table.BLOBS) == []


async def test_closing_finishes_what_was_handed_in_and_takes_nothing_new(
    indexes: list[Index],
) -> None:
    committer = Committer()
    tasks = [asyncio.create_task(committer.commit(indexes[0], put(n))) for n in range(50)]
    await asyncio.sleep(0)
    committer.close()
    await asyncio.gather(*tasks)
    assert len(indexes[0].keys(Table.BLOBS)) == 50
    with pytest.raises(Draining):
        await committer.commit(indexes[0], put(51))


async def test_a_caller_that_went_away_doesn_t_disturb_the_others(
    committer: Committer, indexes: list[Index]
) -> None:
    tasks = [asyncio.create_task(committer.commit(indexes[0], put(n))) for n in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(outcome is None for n, outcome in enumerate(outcomes) if n % 3)
    assert len(indexes[0].keys(Table.BLOBS)) == 100
