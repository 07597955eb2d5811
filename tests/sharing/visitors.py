"""A list of peers as a swarm, and a machine that gets a model from it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from p2pinfer.model.layer_store.chunks import FileDigest
from p2pinfer.model.layer_store.manifest import hash_of
from p2pinfer.model.layer_store.names import MANIFEST_FILE
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing.library import Library
from p2pinfer.sharing.naming.model_ref import ModelRef
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import PeerId, Span
from tests.sharing.peers import QUICK, Peer


@dataclass
class Swarm:
    """The reading half of a swarm: a list of peers that serve models."""

    peers: list[tuple[Peer, Span, bool]] = field(default_factory=list)  # True: it holds the ends
    peer_id: PeerId = field(default=PeerId("us"))

    def add(self, peer: Peer, layers: Span, *, holds_ends: bool = False) -> None:
        self.peers.append((peer, layers, holds_ends))

    async def models(self) -> list[ModelListing]:
        listed = {
            peer.store.manifest.hash: ModelListing(
                model=peer.store.manifest.hash,
                model_name=peer.store.manifest.name,
                num_layers=peer.store.manifest.num_layers,
            )
            for peer, *_ in self.peers
        }
        return list(listed.values())

    async def servers(self, model: str) -> list[Announcement]:
        now = time.time()
        return [
            Announcement(
                peer_id=peer.peer_id,
                model=model,
                model_name=peer.store.manifest.name,
                num_layers=peer.store.manifest.num_layers,
                layers=layers,
                state=ServerState.SERVING,
                numerics="fake",
                endpoints=peer.address.endpoints,
                certificate=peer.address.certificate,
                holds_ends=holds_ends,
                announced_at=now,
                expires_at=now + 60,
            )
            for peer, layers, holds_ends in self.peers
            if peer.store.manifest.hash == model
        ]


class Visitor:
    """A machine with an empty cache folder."""

    def __init__(self, swarm: Swarm, cache: Path) -> None:
        self.lines: list[str] = []
        self.cache = cache
        self.library = Library(
            swarm, None, cache, say=self.lines.append, progress=lambda line: None, settings=QUICK
        )

    async def open(self, text: str, *, with_tokenizer: bool = False) -> LayerStore:
        async with self.library:
            listing = await self.library.find(ModelRef.parse(text))
            assert listing is not None
            store = await self.library.open(listing, with_tokenizer=with_tokenizer)
            self.library.remember(listing)
            return store

    @property
    def files(self) -> set[str]:
        """The names of the files in its only store, marks of use left out."""
        (folder,) = (self.cache / "stores").iterdir()
        found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return {name for name in found if not name.startswith(".")}


def altered(model: LayerStore, folder: Path, name: str, text: str) -> LayerStore:
    """The same model, with another file, and a manifest that fits it."""
    files = dict(model.manifest.files)
    folder.mkdir()
    (folder / "layers").mkdir()
    for file in files:
        (folder / file).write_bytes((model.folder / file).read_bytes())
    (folder / name).write_text(text)
    digest = FileDigest()
    digest.update(text.encode())
    files[name] = digest.entry()
    manifest = replace(model.manifest, files=files, hash=hash_of(files))
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    return LayerStore(folder, manifest, model.config_fields)
