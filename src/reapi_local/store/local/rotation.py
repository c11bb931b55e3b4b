"""When to start a generation and which to evict: only the decisions, without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_GENERATIONS_PER_STORE: Final = 6
_SMALLEST_GENERATION_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class StoreLimits:
    """How much a store may hold.

    ``max_bytes``: on disk, index pages included. ``min_free_bytes``: bytes left free on the file
    system. ``lease_seconds``: how long a lease lasts after an invocation's last call.
    """

    max_bytes: int
    min_free_bytes: int = 0
    lease_seconds: float = 3600.0

    @property
    def generation_bytes(self) -> int:
        """When the newest generation has this many bytes, the next one is started."""
        return max(self.max_bytes // _GENERATIONS_PER_STORE, _SMALLEST_GENERATION_BYTES)

    @property
    def soft_bytes(self) -> int:
        """Above this the oldest generation is evicted; the rest is reserved for copying from it."""
        return self.max_bytes - self.generation_bytes


def is_full(newest_bytes: int, limits: StoreLimits) -> bool:
    """Whether a new generation should be started."""
    return newest_bytes >= limits.generation_bytes


def fits(used_bytes: int, free_bytes: int, needed_bytes: int, limits: StoreLimits) -> bool:
    """Whether a write of ``needed_bytes`` respects both limits."""
    return (
        used_bytes + needed_bytes <= limits.max_bytes
        and free_bytes - needed_bytes >= limits.min_free_bytes
    )


def is_over_soft_limit(used_bytes: int, free_bytes: int, limits: StoreLimits) -> bool:
    """Whether to evict a generation now, before a write has to wait for space."""
    return used_bytes > limits.soft_bytes or free_bytes < limits.min_free_bytes


def is_worth_evicting(disk_bytes: int, leased_bytes: int) -> bool:
    """Whether evicting a generation frees at least an eighth of it."""
    return disk_bytes - leased_bytes >= disk_bytes // 8


COMMIT_BYTES: Final = 32 * 1024
"""What a commit may write in addition to its blobs: copies of the pages from root to leaf."""


def cost_bytes(blob_bytes: int, page_bytes: int = 4096) -> int:
    """About how many bytes a blob takes on disk, measured with batches of blobs.

    LMDB stores a value over half a page in pages of its own, with 16 bytes of header. Smaller
    values share pages, which are about a third empty and are copied before each change.
    """
    if blob_bytes <= page_bytes // 2:
        return min(5 * blob_bytes // 2 + 200, page_bytes + 300)
    return -(-(blob_bytes + 16) // page_bytes) * page_bytes + 128
