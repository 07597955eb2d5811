"""A manifest comes from whoever has it, and is believed for its hash alone."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import ProtocolError, StoreError, SwarmError
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing.fetch import manifests, several
from p2pinfer.sharing.fetch.manifests import fetch_manifest, fetch_summary
from p2pinfer.sharing.manifest_summary import ManifestSummary
from p2pinfer.types import PeerId, short_id
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.sharing_pb2_grpc import SharingServicer
from p2pinfer.wire.status import Reason, Refused, errors_as_status
from tests.sharing.peers import Peers, random_store


class Says(SharingServicer):
    """Answers every request for a manifest with these parts."""

    def __init__(self, parts: Callable[[], Iterable[bytes]]) -> None:
        self._parts = parts

    async def GetManifest(self, request: pb.ManifestRequest, context: Any) -> None:
        for part in self._parts():
            await context.write(pb.ManifestPart(data=part))


class Silent(SharingServicer):
    """Says nothing."""

    async def GetManifest(self, request: pb.ManifestRequest, context: Any) -> None:
        await asyncio.Event().wait()


class Busy(SharingServicer):
    """Says so many times to come later."""

    def __init__(self, text: bytes, times: int) -> None:
        self._text = text
        self.times = times

    async def GetManifest(self, request: pb.ManifestRequest, context: Any) -> None:
        async with errors_as_status(context):
            self.times -= 1
            if self.times >= 0:
                raise Refused(Reason.BUSY, "come later", 0.02)
            for start in range(0, len(self._text), 40_000):
                await context.write(pb.ManifestPart(data=self._text[start : start + 40_000]))


def for_ever(part: bytes) -> Callable[[], Iterable[bytes]]:
    return lambda: iter(lambda: part, None)


@pytest.fixture
def model(tmp_path: Path) -> LayerStore:
    return random_store(tmp_path / "model", [5] * 900)


async def test_a_manifest_is_fetched_by_its_hash(peers: Peers, model: LayerStore):
    """In several messages."""
    peer = await peers.add(model)

    assert await fetch_manifest(model.manifest.hash, [peer.holder], peers.pool()) == model.manifest


async def test_peers_that_give_another_manifest_are_named_and_passed_over(
    peers: Peers, model: LayerStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any
):
    """Another model's, no JSON, no end, nothing, garbage."""
    monkeypatch.setattr(manifests, "MAX_MANIFEST_BYTES", 1_000_000)
    caplog.set_level(logging.WARNING)
    other = random_store(tmp_path / "other", [7], seed=3)
    text = other.manifest.to_json().encode()
    altered = model.manifest.to_json().replace('"bytes": 5', '"bytes": 4').encode()
    liars = [
        await peers.add(model, service=Says(parts))
        for parts in (
            lambda: [text], lambda: [altered[:40_000], altered[40_000:80_000]], lambda: [b"\xff\xfe"],
            for_ever(b"x" * 40_000), for_ever(b""), list,
            lambda: [b"[" * 40_000], for_ever(b'{"":0},' * 7000),
        )
    ]  # fmt: skip
    gone, honest = await peers.add(other), await peers.add(model)
    await gone.stop()

    with pytest.raises(SwarmError):
        await fetch_manifest(model.manifest.hash, [peer.holder for peer in liars], peers.pool())
    assert len(caplog.messages) == len(liars)
    for peer in liars:
        assert short_id(peer.peer_id) in caplog.text

    holders = [peer.holder for peer in (*liars, gone, honest)]
    assert await fetch_manifest(model.manifest.hash, holders, peers.pool()) == model.manifest

    with pytest.raises(SwarmError, match=short_id(gone.peer_id)):
        await fetch_manifest(model.manifest.hash, [gone.holder], peers.pool())
    with pytest.raises(SwarmError, match="nobody"):
        await fetch_manifest(model.manifest.hash, [], peers.pool())


async def test_peers_that_are_silent_or_gone_hold_nobody_up(
    peers: Peers, model: LayerStore, monkeypatch: Any
):
    """However many there are; silent ones make room for those that were not asked."""
    monkeypatch.setattr(several, "_TALK_SECONDS", 0.05)
    silent = await peers.add(model, service=Silent())
    honest, gone = await peers.add(model), await peers.add(model)
    await gone.stop()
    phantoms = [
        replace(peer.holder, peer_id=PeerId(f"{n}"), address=replace(peer.address, peer_id=PeerId(f"{n}")))
        for n in range(40)
        for peer in ((silent,) if n < 10 else (gone,))
    ]
    async with asyncio.timeout(30):
        holders = [*phantoms, honest.holder]
        assert await fetch_manifest(model.manifest.hash, holders, peers.pool()) == model.manifest


async def test_a_peer_that_is_busy_is_asked_again(peers: Peers, model: LayerStore):
    """After the time that it says, for a while."""
    busy = Busy(model.manifest.to_json().encode(), times=2)
    peer = await peers.add(model, service=busy)
    assert await fetch_manifest(model.manifest.hash, [peer.holder], peers.pool()) == model.manifest

    busy.times = 1000
    with pytest.raises(SwarmError, match="come later"):
        await fetch_manifest(model.manifest.hash, [peer.holder], peers.pool(), patience_seconds=0.1)


async def test_a_summary_tells_people_what_a_peer_serves(peers: Peers, model: LayerStore):
    """Without the list of files."""
    peer = await peers.add(model)

    summary = await fetch_summary(peer.holder, peers.pool())

    assert (summary.name, summary.hash, summary.num_layers) == ("random", model.manifest.hash, 900)
    assert summary.size_bytes == model.manifest.bytes_of(tuple(model.manifest.files))


@pytest.mark.parametrize(
    "parts", [for_ever(b"x" * 4000), lambda: [b"[]"], list, lambda: [b"\xff"], for_ever(b"")]
)
async def test_a_summary_that_is_nonsense_is_an_error(peers: Peers, model: LayerStore, parts: Any):
    """In bounded time and memory."""
    liar = await peers.add(model, service=Says(parts))
    with pytest.raises(ProtocolError):
        await fetch_summary(liar.holder, peers.pool())


def test_a_summary_can_not_control_a_terminal():
    """Nor fill it."""
    fields = {"hash": "h" * 999, "name": "\x1b[2J", "model_type": "llama", "num_layers": 1, "size_bytes": 2}
    summary = ManifestSummary.from_json(json.dumps(fields))

    assert summary.name == "?[2J" and len(summary.hash) <= 128


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["hash", "name", "model_type", "num_layers", "size_bytes", "origin"]),
                    inner,
                )
            ),
            max_leaves=12,
        ).map(json.dumps),
    )
)
def test_any_text_is_a_summary_or_an_error(text: str):
    """No other exception."""
    with suppress(StoreError):
        assert ManifestSummary.from_json(text).name.isprintable()
