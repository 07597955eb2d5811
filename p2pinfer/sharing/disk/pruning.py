"""Which stores are removed when room is needed: the least useful ones, and no more than needed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from p2pinfer.errors import StoreError
from p2pinfer.plain_text import bytes_in_words, printable
from p2pinfer.sharing.disk.shelf import StoreOnDisk

_MOST_NAMED = 5


def plan_pruning(
    stores: Sequence[StoreOnDisk],
    *,
    budget_bytes: int | None,
    needed_bytes: int,
    free_bytes: int,
    keep: Collection[str] = (),
) -> list[Path]:
    """The stores to remove so that `needed_bytes` more fit, in this order.

    They fit if the disk, which has `free_bytes` free, takes them, and if all stores together then have at
    most `budget_bytes`, if there is a budget. What a program uses and the hashes in `keep` stay. First go
    stores that this p2pinfer can't read, then those of a name that was made again later with another hash,
    then those that were unused for longest. Raises StoreError, and names no store, if it can't fit.
    """
    total_bytes = sum(store.bytes_on_disk for store in stores)
    lacking_bytes = max(0, needed_bytes - free_bytes)
    if budget_bytes is not None:
        lacking_bytes = max(lacking_bytes, total_bytes + needed_bytes - budget_bytes)
    if lacking_bytes == 0:
        return []
    candidates = [store for store in stores if not store.is_used and store.hash not in keep]
    chosen: list[StoreOnDisk] = []
    freed_bytes = 0
    for store in sorted(candidates, key=lambda store: _use(store, stores)):
        if freed_bytes >= lacking_bytes:
            break
        chosen.append(store)
        freed_bytes += store.bytes_on_disk
    if freed_bytes < lacking_bytes:
        raise StoreError(
            _cannot_fit(stores, candidates, budget_bytes, needed_bytes, free_bytes, lacking_bytes)
        )
    for store in reversed(chosen):  # a large one at the end may have made smaller ones unnecessary
        if freed_bytes - store.bytes_on_disk >= lacking_bytes:
            chosen.remove(store)
            freed_bytes -= store.bytes_on_disk
    return [store.path for store in chosen]


def is_superseded(store: StoreOnDisk, stores: Sequence[StoreOnDisk]) -> bool:
    """True if a later store of the same name has another hash."""
    return any(
        other.name == store.name and other.hash != store.hash and other.made_at > store.made_at
        for other in stores
        if not other.is_unreadable
    )


def _use(store: StoreOnDisk, stores: Sequence[StoreOnDisk]) -> tuple[int, float, Path]:
    """How useful a store is; the least useful is the smallest."""
    group = 0 if store.is_unreadable else 1 if is_superseded(store, stores) else 2
    return group, store.last_used, store.path


def _cannot_fit(
    stores: Sequence[StoreOnDisk],
    candidates: Sequence[StoreOnDisk],
    budget_bytes: int | None,
    needed_bytes: int,
    free_bytes: int,
    lacking_bytes: int,
) -> str:
    kept = [store for store in stores if store not in candidates]
    removable = sum(store.bytes_on_disk for store in candidates)
    limit = "" if budget_bytes is None else f", and all stores may take {bytes_in_words(budget_bytes)}"
    others = f" The stores that may go take {bytes_in_words(removable)}: not enough." if removable else ""
    named = ", ".join(map(_described, kept[:_MOST_NAMED]))
    more = f" and {len(kept) - _MOST_NAMED} more" if len(kept) > _MOST_NAMED else ""
    stays = f" These stay: {named}{more}." if kept else ""
    return (
        f"no room for {bytes_in_words(needed_bytes)}: the disk has {bytes_in_words(free_bytes)} free"
        f"{limit}, so {bytes_in_words(lacking_bytes)} lack.{others}{stays} Make room, or choose a folder on "
        "another disk"
    )


def _described(store: StoreOnDisk) -> str:
    use = ", in use" if store.is_used else ""
    return f"{printable(store.name, 60)} ({bytes_in_words(store.bytes_on_disk)}{use})"
