"""Which stores go when room is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import StoreError
from p2pinfer.sharing.disk.pruning import plan_pruning
from p2pinfer.sharing.disk.shelf import StoreOnDisk


def store(path: str, size: int = 10, *, used_at: float = 0.0, **changes: Any) -> StoreOnDisk:
    fields: dict[str, Any] = {
        "path": Path(path),
        "hash": path,
        "name": path,
        "bytes_on_disk": size,
        "made_at": 0.0,
        "last_used": used_at,
        "is_complete": True,
        "is_used": False,
    }
    return StoreOnDisk(**{**fields, **changes})


OLD, MIDDLE, NEW = store("old", used_at=1.0), store("middle", used_at=2.0), store("new", used_at=3.0)
ALL = [NEW, OLD, MIDDLE]


def plan(
    stores: list[StoreOnDisk],
    needed: int = 0,
    free: int = 0,
    budget: int | None = None,
    keep: tuple[str, ...] = (),
) -> list[str]:
    paths = plan_pruning(stores, budget_bytes=budget, needed_bytes=needed, free_bytes=free, keep=keep)
    return [path.name for path in paths]


@pytest.mark.parametrize(
    ("needed", "free", "budget", "removed"),
    [
        (0, 0, None, []),
        (100, 100, None, []),
        (101, 100, None, ["old"]),
        (110, 100, None, ["old"]),
        (111, 100, None, ["old", "middle"]),
        (130, 100, None, ["old", "middle", "new"]),
        (0, 1000, 30, []),
        (0, 1000, 29, ["old"]),
        (5, 1000, 30, ["old"]),
        (5, 0, 1000, ["old"]),
        (0, 1000, 0, ["old", "middle", "new"]),
    ],
)
def test_those_unused_for_longest_go_until_it_fits(
    needed: int, free: int, budget: int | None, removed: list[str]
):
    assert plan(ALL, needed, free, budget) == removed


def test_what_is_in_use_or_needed_stays():
    assert plan([replace(OLD, is_used=True), MIDDLE, NEW], 5) == ["middle"]
    assert plan(ALL, 5, keep=("old", "middle")) == ["new"]


def test_a_version_that_another_has_superseded_goes_first():
    before = replace(NEW, name="smol", made_at=1.0)
    after = store("after", name="smol", made_at=2.0, used_at=0.0)

    assert plan([OLD, before, after], 5) == ["new"]
    assert plan([OLD, replace(before, hash="after"), after], 5) == ["after"]  # the same model twice


def test_what_this_version_cannot_read_goes_before_everything():
    assert plan([*ALL, store("ancient", used_at=9.0, is_unreadable=True)], 5) == ["ancient"]


def test_a_large_store_spares_small_ones_that_alone_would_not_do():
    small, large = store("small", 1, used_at=1.0), store("large", 100, used_at=2.0)

    assert plan([small, large], 50) == ["large"]


def test_nothing_goes_if_it_cannot_help():
    with pytest.raises(StoreError) as raised:
        plan([replace(OLD, is_used=True), MIDDLE, NEW], 31, free=10, keep=("new",))

    assert str(raised.value) == (
        "no room for 31 B: the disk has 10 B free, so 21 B lack. The stores that may go take 10 B: not "
        "enough. These stay: old (10 B, in use), new (10 B). Make room, or choose a folder on another disk"
    )


def test_a_budget_that_cannot_be_kept_is_named():
    with pytest.raises(StoreError, match="and all stores may take 5"):
        plan([], 6, free=1000, budget=5)


def test_of_many_stores_that_stay_some_are_named():
    stores = [store(f"s{number}", is_used=True) for number in range(1000)]
    with pytest.raises(StoreError, match="and 995 more"):
        plan(stores, 1)


STORES = st.lists(
    st.builds(
        lambda path, hash_, size, used_at, made_at, is_used: store(
            path, size, used_at=used_at, hash=hash_, name=path[0], made_at=made_at, is_used=is_used
        ),
        st.text("abc", min_size=1, max_size=4),
        st.sampled_from("xyz"),
        st.integers(0, 50),
        st.floats(0, 10),
        st.floats(0, 10),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda one: one.path,
)


@given(
    STORES, st.integers(0, 200), st.integers(0, 100), st.integers(0, 200) | st.none(), st.sampled_from("xyz")
)
def test_a_plan_makes_room_and_is_not_larger_than_needed(
    stores: list[StoreOnDisk], needed: int, free: int, budget: int | None, kept: str
):
    def fits(gone: list[StoreOnDisk]) -> bool:
        freed = sum(one.bytes_on_disk for one in gone)
        left = sum(one.bytes_on_disk for one in stores) - freed
        return needed <= free + freed and (budget is None or left + needed <= budget)

    allowed = [one for one in stores if not one.is_used and one.hash != kept]
    try:
        paths = plan_pruning(stores, budget_bytes=budget, needed_bytes=needed, free_bytes=free, keep={kept})
    except StoreError:
        assert not fits(allowed)
        return
    gone = [one for one in stores if one.path in paths]
    assert fits(gone)
    assert all(one in allowed for one in gone)
    assert not any(fits([other for other in gone if other is not one]) for one in gone)
