"""The library: from a name to a store that has what is needed, by way of real peers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from p2pinfer.errors import ModelError, SwarmError, UsageError
from p2pinfer.model.layer_store.chunks import FileDigest
from p2pinfer.model.layer_store.manifest import hash_of
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, MANIFEST_FILE, layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.sharing.library import Library
from p2pinfer.sharing.naming.model_ref import ModelRef
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import PeerId, Span
from tests.model.tiny_models import tiny_store
from tests.sharing.peers import QUICK, Peer, Peers, same_files


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
            swarm, None, cache, say=self.lines.append, shows_progress=False, settings=QUICK
        )

    async def open(self, text: str, *, with_tokenizer: bool = False) -> LayerStore:
        async with self.library:
            listing = await self.library.find(ModelRef.parse(text))
            assert listing is not None
            return await self.library.open(listing, with_tokenizer=with_tokenizer)

    @property
    def files(self) -> set[str]:
        """The names of the files in its only store, marks of use left out."""
        (folder,) = (self.cache / "stores").iterdir()
        found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return {name for name in found if not name.startswith(".")}


@pytest.fixture
def model(tmp_path: Path) -> LayerStore:
    return tiny_store(tmp_path / "model", "llama")


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


async def test_a_server_gets_the_description_and_then_its_layers_alone(
    peers: Peers, model: LayerStore, tmp_path: Path
):
    swarm = Swarm()
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")

    store = await visitor.open(model.manifest.name)
    assert visitor.files == {MANIFEST_FILE, CONFIG_FILE}
    assert store.manifest == model.manifest

    holdings = Holdings(store)
    names = (layer_file(1), layer_file(2))
    await visitor.library.fetch(store, names, holdings)
    assert visitor.files == {MANIFEST_FILE, CONFIG_FILE, *names}
    assert same_files(store, model, names)
    assert holdings.holds(names)


async def test_a_client_gets_configs_and_tokenizer_from_those_who_have_them(
    peers: Peers, model: LayerStore, tmp_path: Path
):
    """Most servers have layers only."""
    swarm = Swarm()
    for _ in range(3):
        swarm.add(await peers.add_empty(model), Span(0, 4))
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")

    store = await visitor.open(model.manifest.name, with_tokenizer=True)
    await visitor.library.fetch(store, (ENDS_FILE,), Holdings(store))

    assert visitor.files == {MANIFEST_FILE, *model.manifest.end_files}
    assert same_files(store, model, model.manifest.end_files)


async def test_a_store_that_is_here_is_completed_not_fetched_again(
    peers: Peers, model: LayerStore, tmp_path: Path
):
    """A server and a client of one machine share the folder."""
    swarm = Swarm()
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")
    server_store = await visitor.open(model.manifest.name)
    client_store = await visitor.open(model.manifest.name, with_tokenizer=True)

    assert client_store.folder == server_store.folder
    assert "tokenizer.json" in visitor.files


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "evil.Tokenizer"}}, "names code to be run"),
        ("tokenizer_config.json", {"a": [{"auto_map": {}}]}, "names code to be run"),
        ("config.json", {"auto_map": {"AutoConfig": "evil.Config"}}, "names code to be run"),
        ("config.json", {"model_type": "evil"}, "describe different models"),
        ("config.json", [], "is no object"),
    ],
)
async def test_files_that_want_code_or_lie_are_refused_before_anything_is_written(
    peers: Peers, model: LayerStore, tmp_path: Path, name: str, content: object, message: str
):
    """The hashes are right: whoever made the manifest wanted these files."""
    evil = altered(model, tmp_path / "evil", name, json.dumps(content))
    swarm = Swarm()
    swarm.add(await peers.add(evil), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")

    with pytest.raises(ModelError, match=message):
        await visitor.open(model.manifest.name, with_tokenizer=True)
    assert list((tmp_path / "cache").rglob(name)) == []


async def test_a_family_that_cannot_be_run_here_is_refused(peers: Peers, model: LayerStore, tmp_path: Path):
    config = dict(model.config_fields) | {"model_type": "alien"}
    evil = altered(model, tmp_path / "evil", CONFIG_FILE, json.dumps(config))
    evil = LayerStore(evil.folder, replace(evil.manifest, model_type="alien"), {})
    (evil.folder / MANIFEST_FILE).write_text(evil.manifest.to_json())
    swarm = Swarm()
    swarm.add(await peers.add(evil), Span(0, 4), holds_ends=True)

    with pytest.raises(ModelError, match="does not run 'alien' models"):
        await Visitor(swarm, tmp_path / "cache").open(model.manifest.name)
    assert not (tmp_path / "cache" / "stores").exists()


async def test_a_change_of_a_names_hash_is_a_warning(peers: Peers, model: LayerStore, tmp_path: Path):
    other = altered(model, tmp_path / "other", "generation_config.json", '{"eos_token_id": 5}')
    before, after = Swarm(), Swarm()
    before.add(await peers.add(model), Span(0, 4), holds_ends=True)
    after.add(await peers.add(other), Span(0, 4), holds_ends=True)
    await Visitor(before, tmp_path / "cache").open(model.manifest.name)
    visitor = Visitor(after, tmp_path / "cache")
    await visitor.open(model.manifest.name)

    assert len(visitor.lines) == 1
    assert visitor.lines[0].startswith("WARNING: ")
    assert model.manifest.hash[:16] in visitor.lines[0]
    assert other.manifest.hash[:16] in visitor.lines[0]


async def test_two_manifests_with_one_name_ask_for_a_hash(peers: Peers, model: LayerStore, tmp_path: Path):
    other = altered(model, tmp_path / "other", "generation_config.json", '{"eos_token_id": 5}')
    swarm = Swarm()
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    swarm.add(await peers.add(other), Span(0, 4), holds_ends=True)
    with pytest.raises(UsageError, match="Say which one you mean"):
        await Visitor(swarm, tmp_path / "cache").open(model.manifest.name)

    store = await Visitor(swarm, tmp_path / "cache").open(f"{model.manifest.name}@{other.manifest.hash[:16]}")
    assert store.manifest.hash == other.manifest.hash


async def test_when_nobody_has_the_tokenizer_the_reason_is_said(
    peers: Peers, model: LayerStore, tmp_path: Path
):
    swarm = Swarm()
    only = await peers.add_empty(model)
    (only.store.folder).mkdir(parents=True, exist_ok=True)
    (only.store.folder / CONFIG_FILE).write_bytes((model.folder / CONFIG_FILE).read_bytes())
    only.holdings.file_done(CONFIG_FILE)
    swarm.add(only, Span(0, 4))

    with pytest.raises(SwarmError, match=r"no peer gives generation_config\.json of"):
        await Visitor(swarm, tmp_path / "cache").open(model.manifest.name, with_tokenizer=True)


@dataclass
class BusySwarm(Swarm):
    """A swarm that overlooks its servers again and again."""

    looks: int = 0

    async def models(self) -> list[ModelListing]:
        self.looks += 1
        return await super().models() if self.looks % 2 == 0 else []

    async def servers(self, model: str) -> list[Announcement]:
        self.looks += 1
        return await super().servers(model) if self.looks % 2 == 0 else []


async def test_a_look_that_finds_nobody_is_repeated(peers: Peers, model: LayerStore, tmp_path: Path):
    """Name, manifest and config are looked for apart; each time the first look fails."""
    swarm = BusySwarm()
    swarm.add(await peers.add(model), Span(0, model.manifest.num_layers))

    store = await Visitor(swarm, tmp_path / "cache").open(model.manifest.name)

    assert store.manifest.hash == model.manifest.hash
    assert swarm.looks == 6


async def test_a_file_that_was_altered_on_this_disk_is_mended(
    peers: Peers, model: LayerStore, tmp_path: Path
):
    """A power cut, a bad sector: the server's owner need not know which file to delete."""
    swarm = Swarm()
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")
    store = await visitor.open(model.manifest.name)
    holdings, names = Holdings(store), (layer_file(0), layer_file(1))
    await visitor.library.fetch(store, names, holdings)
    assert not await visitor.library.repair(store, names, holdings)
    for name in (layer_file(1), CONFIG_FILE):
        data = (store.folder / name).read_bytes()
        (store.folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    assert await visitor.library.repair(store, names, holdings)
    assert (await visitor.open(model.manifest.name)).config_fields == model.config_fields
    assert same_files(store, model, (CONFIG_FILE, *names))
    assert [line for line in visitor.lines if "was altered on this disk" in line] == visitor.lines


async def test_a_store_of_the_users_own_is_not_touched(peers: Peers, model: LayerStore, tmp_path: Path):
    swarm = Swarm()
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")
    (model.folder / layer_file(0)).write_bytes(b"mine")

    assert not await visitor.library.repair(model, (layer_file(0),), Holdings(model))
    assert (model.folder / layer_file(0)).read_bytes() == b"mine"
