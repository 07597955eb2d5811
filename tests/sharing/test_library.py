"""The library: from a name to a store that has what is needed, by way of real peers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from p2pinfer.errors import ModelError, SwarmError, UnusableModelError, UsageError
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, MANIFEST_FILE, layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.sharing.library import Library
from p2pinfer.sharing.naming.model_ref import ModelRef
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import Span
from tests.model.tiny_models import tiny_store
from tests.sharing.peers import QUICK, Peers, same_files
from tests.sharing.visitors import Swarm, Visitor, altered


@pytest.fixture
def model(tmp_path: Path) -> LayerStore:
    return tiny_store(tmp_path / "model", "llama")


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
        ("tokenizer_config.json", [], "is no object"),
        ("tokenizer.json", [], "is no object"),
        ("config.json", {"num_attention_heads": 0}, "num_attention_heads can't be 0"),
        ("config.json", {"intermediate_size": 10**30}, "intermediate_size can't be 1000"),
        ("config.json", {"hidden_size": 32.0}, "hidden_size can't be 32.0"),
        ("config.json", {"head_dim": True}, "head_dim can't be True"),
    ],
)
async def test_files_that_want_code_or_lie_are_refused_before_anything_is_written(
    peers: Peers, model: LayerStore, tmp_path: Path, name: str, content: object, message: str
):
    """The hashes are right: whoever made the manifest wanted these files."""
    if name == "config.json" and isinstance(content, dict):
        content = dict(model.config_fields) | content
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


def nested(depth: int) -> str:
    """An object that is nested so deep."""
    return '{"a":' + "[" * depth + "]" * depth + "}"


async def test_settings_that_are_nested_too_deep_are_refused(peers: Peers, model: LayerStore, tmp_path: Path):
    """Readers of such files recurse."""
    evil = altered(model, tmp_path / "evil", "tokenizer_config.json", nested(40))
    swarm = Swarm()
    swarm.add(await peers.add(evil), Span(0, 4), holds_ends=True)

    with pytest.raises(UnusableModelError, match="nested too deep"):
        await Visitor(swarm, tmp_path / "cache").open(model.manifest.name, with_tokenizer=True)


async def test_a_model_that_could_not_be_used_is_not_chosen_again(
    peers: Peers, model: LayerStore, tmp_path: Path
):
    """A server without a model's name would try it at every start. Its name still means it."""
    swarm = Swarm()
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")
    assert [one.listing.model for one in await visitor.library.ranked()] == [model.manifest.hash]
    with pytest.raises(UnusableModelError):
        async with visitor.library.on_trial(model.manifest.hash):
            raise UnusableModelError("the manifest contradicts itself")

    again = Visitor(swarm, tmp_path / "cache")
    assert await again.library.ranked() == []
    assert "couldn't be used here before" in again.lines[0]
    assert (await again.open(model.manifest.name)).manifest == model.manifest


async def test_what_was_only_opened_is_not_known(peers: Peers, model: LayerStore, tmp_path: Path):
    """A model is known once it was served or used."""
    swarm = Swarm()
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    async with Visitor(swarm, tmp_path / "cache").library as library:
        listing = await library.find(ModelRef.parse(model.manifest.name))
        assert listing is not None
        await library.open(listing)
        (candidate,) = await library.ranked()
        assert not candidate.is_known and not candidate.has_files
        library.remember(listing)
        (candidate,) = await library.ranked()
        assert candidate.is_known and candidate.has_files


async def test_defaults_that_were_edited_stay(peers: Peers, model: LayerStore, tmp_path: Path):
    """In a store that was fetched, and in one of the user's own."""
    swarm = Swarm()
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")
    fetched = await visitor.open(model.manifest.name, with_tokenizer=True)
    own = altered(model, tmp_path / "own", "generation_config.json", "{}")
    own = LayerStore(own.folder, model.manifest, {})
    for store in (fetched, own):
        (store.folder / "generation_config.json").write_text('{"max_new_tokens": 77}')
        (store.folder / "tokenizer.json").write_text('{"mine": 1}')
        await visitor.library.complete_description(store)

        assert (store.folder / "generation_config.json").read_text() == '{"max_new_tokens": 77}'
    assert same_files(fetched, model, ("tokenizer.json",))
    assert (own.folder / "tokenizer.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize("damage", [b"", b"{", b'{"manifest": 2}'])
async def test_a_damaged_manifest_of_the_cache_is_replaced(
    peers: Peers, model: LayerStore, tmp_path: Path, damage: bytes
):
    swarm = Swarm()
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")
    store = await visitor.open(model.manifest.name)
    (store.folder / MANIFEST_FILE).write_bytes(damage)

    assert (await visitor.open(model.manifest.name)).manifest == model.manifest


async def test_a_long_fetch_is_told_in_lines_where_a_program_asks_for_them(
    peers: Peers, model: LayerStore, tmp_path: Path
):
    swarm = Swarm()
    lines: list[str] = []
    swarm.add(await peers.add(model), Span(0, 4), holds_ends=True)
    visitor = Visitor(swarm, tmp_path / "cache")
    visitor.library = Library(
        swarm, None, tmp_path / "cache", say=lines.append, progress=lines.append, settings=QUICK
    )
    store = await visitor.open(model.manifest.name)
    await visitor.library.fetch(store, (layer_file(0),), Holdings(store))

    assert lines[0].startswith("fetching layers 0:1 of ")
    assert lines[-1].startswith("fetching layers 0:1 of ") and " in " in lines[-1]
