"""When to begin a generation and which to drop: decided here, done elsewhere. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_GENERATIONS_PER_STORE: Final = 6
_SMALLEST_GENERATION_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class StoreLimits:
    """How much a store may hold.

    ``max_bytes``: on disk, index pages included. ``min_free_bytes``: what others keep on the same
    file system. ``lease_seconds``: how long a promise holds after a run's last call.
    """

    max_bytes: int
    min_free_bytes: int = 0
    lease_seconds: float = 3600.0

    @property
    def generation_bytes(self) -> int:
        """When the newest generation has this much, the next one begins."""
        return max(self.max_bytes // _GENERATIONS_PER_STORE, _SMALLEST_GENERATION_BYTES)

    @property
    def soft_bytes(self) -> int:
        """Above this the oldest generation goes: what is left is room to carry from it."""
        return self.max_bytes - self.generation_bytes


def is_full(newest_bytes: int, limits: StoreLimits) -> bool:
    """Whether the next write should begin a generation."""
    return newest_bytes >= limits.generation_bytes


def fits(used_bytes: int, free_bytes: int, needed_bytes: int, limits: StoreLimits) -> bool:
    """Whether a write of ``needed_bytes`` keeps to both limits."""
    return (
        used_bytes + needed_bytes <= limits.max_bytes
        and free_bytes - needed_bytes >= limits.min_free_bytes
    )


def is_over_soft_limit(used_bytes: int, free_bytes: int, limits: StoreLimits) -> bool:
    """Whether a generation should go before a write has to wait for it."""
    return used_bytes > limits.soft_bytes or free_bytes < limits.min_free_bytes


def is_worth_evicting(disk_bytes: int, leased_bytes: int) -> bool:
    """Whether dropping a generation gives back at least an eighth of it."""
    return disk_bytes - leased_bytes >= disk_bytes // 8


COMMIT_BYTES: Final = 32 * 1024
"""What a commit may take besides its blobs: copies of the pages from the root to the leaves."""


def cost_bytes(blob_bytes: int, page_bytes: int = 4096) -> int:
    """About what a blob takes on disk, measured with blobs that come in batches.

    LMDB gives a value over half a page pages of its own, with 16 bytes of header; smaller ones
    share pages, which are a good third empty and are copied before each change.
    """
    if blob_bytes <= page_bytes // 2:
        return min(5 * blob_bytes // 2 + 200, page_bytes + 300)
    return -(-(blob_bytes + 16) // page_bytes) * page_bytes + 128
