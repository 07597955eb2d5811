"""What a reader reads of a tree, from cells that are full of records, without a network."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from p2pinfer.swarm.cells.climb import CAPACITY
from p2pinfer.swarm.cells.descent import FEW
from p2pinfer.swarm.cells.keys import keys_of_cell
from p2pinfer.swarm.discovery.reading import Reading
from p2pinfer.swarm.kademlia.store import Stored
from p2pinfer.swarm.kademlia.validator import Record, newest
from p2pinfer.types import PeerId

TREE = "tree"
PLACE = "0" * 16


class Cells:
    """A network that has these records in each cell, whatever they are signed for."""

    def __init__(self, cells: dict[str, range]) -> None:
        self._records = {
            key: [_record(number) for number in numbers]
            for cell, numbers in cells.items()
            for key in keys_of_cell(TREE, cell)
        }

    async def put(self, keys: Sequence[bytes], record: Record, *, shared: bool = False) -> list[Stored]:
        return []

    async def get(self, keys: Sequence[bytes], *, shared: bool = False) -> list[Record]:
        return newest(record for key in keys for record in self._records.get(key, []))


def _record(number: int) -> Record:
    return Record(
        peer_id=PeerId(f"peer {number}"), data=b"", expires_at=1e9, tree=TREE, place=PLACE, proof=b""
    )


def numbers_of(records: Sequence[Record]) -> set[int]:
    return {int(record.peer_id.split()[1]) for record in records}


@pytest.mark.parametrize(("own", "beside"), [(FEW, 0), (FEW - 1, 2), (0, 2)], ids=["enough", "few", "none"])
async def test_the_cells_beside_are_read_where_the_own_one_has_few_though_that_seems_enough(
    own: int, beside: int
):
    """Hostile servers say that they have all layers: what they say doesn't decide who else is asked."""
    crowd = range(100, 100 + CAPACITY)
    network = Cells({"": crowd, "0": range(own), "1": range(900, 901), "3": range(901, 902)})
    found = numbers_of(await Reading(network, TREE).around(PLACE))

    assert len(found & {900, 901}) == beside
    assert found >= {*range(own), *crowd}


async def test_a_reader_who_has_seen_a_larger_swarm_goes_on_behind_a_root_that_seems_small():
    """The keepers of the root hide all but thirty of their own."""
    full = Cells({"": range(1000, 1000 + CAPACITY), "0": range(60)})
    hidden = Cells({"": range(2000, 2030), "0": range(60)})
    reading = Reading(full, TREE)
    await reading.around(PLACE)
    again = Reading(hidden, TREE)
    again.depth = reading.depth

    assert numbers_of(await again.around(PLACE)) == {*range(60), *range(2000, 2030)}
    assert again.depth == reading.depth


async def test_a_clock_that_is_set_back_makes_no_sample_young() -> None:
    """It would have been shown until the clock had caught up."""
    cells, now = Cells({"": range(CAPACITY), "0": range(CAPACITY, CAPACITY + FEW)}), 10_000.0
    reader = Reading(cells, TREE, now=lambda: now)
    await reader.around(PLACE)
    now = 5000.0
    cells._records.update({key: [_record(7777)] for key in keys_of_cell(TREE, "")})
    assert PeerId("peer 7777") in {record.peer_id for record in await reader.around(PLACE)}
