"""What users are told about the space on the store's disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from reapi_contract import proof
from reapi_contract.admin_api import StoreStatus
from reapi_contract.proof import Proof
from reapi_contract.sizes import format_size

_LITTLE_BYTES: Final = 1024**3


def is_short(store: StoreStatus) -> bool:
    """Whether the disk has less than the server leaves free, so that nothing can be stored."""
    return store.free_disk_bytes < store.min_free_bytes


def disk_note(store: StoreStatus, data_dir: str) -> str:
    """A sentence if the disk will be full long before the store is at its limit, else ""."""
    wanted = min(_LITTLE_BYTES, store.max_bytes - store.disk_bytes)
    if not is_short(store) and store.free_disk_bytes - store.min_free_bytes >= wanted:
        return ""
    little = (
        "it can store next to nothing" if is_short(store) else "it can store only a little more"
    )
    return (
        f"The disk of {data_dir} has only {format_size(store.free_disk_bytes)} free, and the "
        f"server leaves {format_size(store.min_free_bytes)} free, so {little}. Free some space."
    )


def with_disk(proofs: Sequence[Proof], store: StoreStatus, data_dir: str) -> list[Proof]:
    """The proofs with what the disk has to do with them."""
    note = disk_note(store, data_dir)
    if not note:
        return [*proofs]
    if any(one.remedy == proof.NO_ROOM for one in proofs) and is_short(store):
        return [replace(one, remedy=note) if one.remedy == proof.NO_ROOM else one for one in proofs]
    return [*proofs, Proof(proof.DISK_SPACE, True, 0.0, note)]
