"""Files come from peers, whole and right, whatever becomes of single peers."""

from __future__ import annotations

from pathlib import Path

from tests.sharing.peers import MIB, Peers, random_store, same_files


async def test_one_peer_gives_all_files(peers: Peers, tmp_path: Path):
    """Nothing is received twice, and no part file is left."""
    model = random_store(tmp_path / "model", [5 * MIB + 7, MIB, 1])
    seeder, joiner = await peers.add(model), await peers.add_empty(model)

    summary = await joiner.fetch(seeder)

    assert same_files(model, joiner.store)
    assert summary.received_bytes == model.manifest.bytes_of(tuple(model.manifest.files))
    assert summary.received_by_peer == {seeder.peer_id: summary.received_bytes}
    assert joiner.holdings.holds(model.manifest.files)
    assert list(joiner.store.folder.rglob("*.part")) == []
