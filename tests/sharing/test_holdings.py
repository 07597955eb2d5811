"""What lies on this disk: known at the start, told as it comes, checked when it is read."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from pathlib import Path

import pytest

from p2pinfer.model.layer_store.names import CONFIG_FILE, layer_file
from p2pinfer.sharing.files.part_file import open_part, part_path
from p2pinfer.sharing.holdings import Holdings
from tests.sharing.peers import MIB, empty_store, random_store

LAYER = layer_file(0)


async def test_the_files_of_a_store_are_held_and_missing_ones_not(tmp_path: Path):
    """A file of another size is no file of the store."""
    model = random_store(tmp_path / "model", [2 * MIB, MIB])
    (model.folder / layer_file(1)).unlink()
    (model.folder / CONFIG_FILE).write_bytes(b"short")

    with closing(Holdings(model)) as holdings:
        assert holdings.holds([LAYER])
        assert not holdings.holds([LAYER, CONFIG_FILE])
        numbers = holdings.chunks.chunks_of(LAYER)
        assert numbers[0] in holdings and numbers[-1] in holdings
        assert holdings.chunks.chunks_of(layer_file(1))[0] not in holdings
        assert -1 not in holdings and 10**6 not in holdings


async def test_watchers_are_told_what_comes(tmp_path: Path):
    """Each chunk once, in the order in which they came."""
    model = random_store(tmp_path / "model", [2 * MIB])
    with closing(Holdings(empty_store(tmp_path / "empty", model))) as holdings:
        watching = asyncio.create_task(holdings.more_than(0))
        await asyncio.sleep(0)
        numbers = list(holdings.chunks.chunks_of(LAYER))
        holdings.add([numbers[1]])

        assert await watching == [numbers[1]]
        holdings.file_done(LAYER)
        assert await holdings.more_than(1) == [numbers[0]]
        assert holdings.holds([LAYER]) and holdings.added == 2


async def test_a_chunk_that_was_altered_on_disk_is_not_given_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """The owner is told once; the file's other chunks are still good."""
    model = random_store(tmp_path / "model", [3 * MIB])
    with closing(Holdings(model)) as holdings:
        first, second, third = holdings.chunks.chunks_of(LAYER)
        with (model.folder / LAYER).open("r+b") as file:
            for place in (holdings.chunks.place(number) for number in (first, third)):
                file.seek(place.offset)
                byte = file.read(1)[0]
                file.seek(place.offset)
                file.write(bytes([byte ^ 1]))
        caplog.set_level(logging.WARNING)

        assert await holdings.read(first) is None
        assert await holdings.read(third) is None

        assert len(caplog.messages) == 1 and LAYER in caplog.text
        assert first not in holdings and second in holdings and not holdings.holds([LAYER])
        data = (model.folder / LAYER).read_bytes()
        assert await holdings.read(second) == data[MIB : 2 * MIB]


async def test_chunks_of_a_part_file_can_be_read(tmp_path: Path):
    """A peer gives on what it has before its file is whole."""
    model = random_store(tmp_path / "model", [2 * MIB])
    store = empty_store(tmp_path / "empty", model)
    data = (model.folder / LAYER).read_bytes()
    part = open_part(store.folder, LAYER, model.manifest.files[LAYER])
    assert part is not None
    with closing(part), closing(Holdings(store)) as holdings:
        part.write(1, data[MIB:])
        number = holdings.chunks.chunks_of(LAYER)[1]
        holdings.add([number])

        assert part_path(store.folder, LAYER).exists()
        assert await holdings.read(number) == data[MIB:]


async def test_a_file_that_was_removed_is_not_held_any_more(tmp_path: Path):
    """By the pruning of old stores, for instance, which says so, or by hand."""
    model = random_store(tmp_path / "model", [2 * MIB])
    with closing(Holdings(model)) as holdings:
        number = holdings.chunks.chunks_of(LAYER)[0]
        (model.folder / LAYER).unlink()
        assert await holdings.read(number) is None
        assert number not in holdings

        holdings.drop_file(LAYER)
        assert not any(number in holdings for number in holdings.chunks.chunks_of(LAYER))
