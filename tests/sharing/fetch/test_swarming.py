"""Many that join at once feed each other: the seeder's line carries each chunk little more than once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.sharing.give.service import Limits
from p2pinfer.wire.status import Refused
from tests.sharing.peers import MIB, QUICK, Peers, random_store, same_files


class SlowLine:
    """A gate that lets so many bytes through per second."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._free_at = 0.0

    def may_begin(self) -> Refused | None:
        return None

    async def wait_to_send(self, size_bytes: int) -> None:
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + size_bytes / self._rate
        await asyncio.sleep(self._free_at - now)

    def sent(self, size_bytes: int) -> None:
        pass

    def not_sent(self, size_bytes: int) -> None:
        pass


async def test_ten_joiners_of_the_same_share_feed_each_other(peers: Peers, tmp_path: Path):
    """Their lines are as fast as the seeder's; alone, it would send everything ten times."""
    layers = 12
    model = random_store(tmp_path / "model", [32 * 1024] * layers)  # a file is one chunk
    names = [layer_file(at) for at in range(layers)]
    limits = Limits(news_seconds=0.02)
    seeder = await peers.add(model, gate=SlowLine(MIB / 2))
    joiners = [await peers.add_empty(model, gate=SlowLine(MIB / 2), limits=limits) for _ in range(10)]
    settings = replace(QUICK, peers=10)

    summaries = await asyncio.gather(
        *(joiner.fetch(seeder, *joiners, names=names, settings=settings) for joiner in joiners)
    )

    assert all(same_files(model, joiner.store, names) for joiner in joiners)
    times_sent = seeder.service.times_sent[model.manifest.chunks.numbers_of(names)]
    assert times_sent.min() >= 1
    assert times_sent.sum() <= 4 * layers  # busy processors delay the news of what others hold
    share = model.manifest.bytes_of(tuple(names))
    assert sum(summary.received_bytes for summary in summaries) <= 1.3 * share * len(
        joiners
    )  # these chunks come whole, in one message


async def test_joiners_of_different_shares_all_get_theirs(peers: Peers, tmp_path: Path):
    """From the one that has all of it."""
    model = random_store(tmp_path / "model", [2 * MIB] * 5)
    seeder = await peers.add(model)
    joiners = [await peers.add_empty(model) for _ in range(5)]

    await asyncio.gather(
        *(joiner.fetch(seeder, *joiners, names=[layer_file(at)]) for at, joiner in enumerate(joiners))
    )

    for at, joiner in enumerate(joiners):
        assert same_files(model, joiner.store, [layer_file(at)])
        assert len(joiner.holdings) == 2


async def test_a_fast_peer_takes_over_what_a_slow_one_sends(peers: Peers, tmp_path: Path):
    """The slow one alone would take a minute for its chunk; little is received in vain."""
    model = random_store(tmp_path / "model", [30 * MIB])
    slow = await peers.add(model, gate=SlowLine(MIB / 20))
    fast = await peers.add(model)
    joiner = await peers.add_empty(model)

    async with asyncio.timeout(15):
        summary = await joiner.fetch(slow, fast)

    assert same_files(model, joiner.store)
    assert summary.received_bytes <= 1.05 * model.manifest.bytes_of(tuple(model.manifest.files))
