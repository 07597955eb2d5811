"""Single files of a store whose manifest is known, converted from the original and compared."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pinfer.errors import ModelError, StoreError
from p2pinfer.model.conversion import reconvert
from p2pinfer.model.formats.gguf.file import GgufFile
from p2pinfer.model.formats.hf_folder import HfFolder
from p2pinfer.model.formats.hub.model import HubModel
from p2pinfer.model.formats.hub.repository import find_repository
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, GENERATION_CONFIG_FILE, layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import convert_model
from tests.model.formats.gguf.tiny_gguf import plain_model, write_gguf
from tests.model.formats.hub.loopback_hub import LoopbackHub
from tests.model.tiny_models import save_tiny_model


def silent(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model", "llama")


@pytest.fixture
def store(folder: Path, tmp_path: Path) -> LayerStore:
    """With its manifest and its config, and nothing else."""
    return emptied(convert_model(str(folder), tmp_path / "store", silent))


def emptied(store: LayerStore) -> LayerStore:
    for name in store.manifest.files:
        if name != CONFIG_FILE:
            (store.folder / name).unlink()
    return store


def left_aside(store: LayerStore) -> list[Path]:
    return list(store.folder.glob(".*"))


def test_the_layers_that_are_wanted_are_made(store: LayerStore, folder: Path):
    wanted = [layer_file(3), layer_file(1)]
    reconvert(HfFolder(folder, "tiny"), store, wanted, silent)
    store.layer_tensors(1)
    store.layer_tensors(3)

    assert store.missing([layer_file(layer) for layer in range(4)]) == (layer_file(0), layer_file(2))
    assert left_aside(store) == []


def test_every_file_of_a_store_can_be_made_again(store: LayerStore, folder: Path):
    """Configs, tokenizer and ends, too; also where the folder of the layers is gone."""
    shutil.rmtree(store.folder / "layers")
    (store.folder / CONFIG_FILE).unlink()
    reconvert(HfFolder(folder, "tiny"), store, list(store.manifest.files), silent)

    store.verify()


@pytest.mark.parametrize("model_type", ["qwen3", "starcoder2", "gemma2", "phi3"])
def test_every_family_can_be_made_again(tmp_path: Path, model_type: str):
    """The store's config, which is normalised, describes the same layers as the source's own."""
    folder = save_tiny_model(tmp_path / "m", model_type)
    store = emptied(convert_model(str(folder), tmp_path / "store", silent))
    reconvert(HfFolder(folder, "tiny"), store, list(store.manifest.files), silent)

    store.verify()


def test_files_of_a_gguf_model_can_be_made_again(tmp_path: Path):
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama")
    store = emptied(convert_model(str(tmp_path / "m.gguf"), tmp_path / "store", silent))
    reconvert(GgufFile(tmp_path / "m.gguf"), store, list(store.manifest.files), silent)

    store.verify()


@pytest.fixture
def hub(folder: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub({"some/tiny": folder}) as running:
        yield running


def test_a_share_takes_only_the_tensors_of_its_layers_from_the_hub(hub: LoopbackHub, store: LayerStore):
    """Counted at the hub: the headers, and the bytes of two layers."""
    source = HubModel(find_repository("some/tiny", endpoint=hub.endpoint), silent)
    headers_bytes = hub.sent_bytes
    hub.weights_asked.clear()
    reconvert(source, store, [layer_file(1), layer_file(2)], silent)
    places = [at for name, at in source.origin.tensors.items() if name.startswith(("layers.1.", "layers.2."))]

    assert sorted((asked.start, asked.end) for asked in hub.weights_asked) == sorted(
        (at.start, at.end) for at in places
    )
    assert hub.sent_bytes - headers_bytes == sum(at.end - at.start for at in places)
    assert store.has(layer_file(1))


def test_a_client_takes_only_the_ends_from_the_hub(hub: LoopbackHub, store: LayerStore):
    source = HubModel(find_repository("some/tiny", endpoint=hub.endpoint), silent)
    before_bytes = hub.sent_bytes
    reconvert(source, store, store.manifest.end_files, silent)

    assert hub.sent_bytes - before_bytes == 2 * (2 * 160 * 32 + 32)
    assert store.missing(store.manifest.end_files) == ()


def test_another_revision_is_noticed_and_nothing_of_it_is_kept(store: LayerStore, tmp_path: Path):
    """The file that differs is named. Files before it that are equal stay."""
    other = save_tiny_model(tmp_path / "other", "llama", initializer_range=0.1)
    with pytest.raises(StoreError, match=r"layers/00002\.safetensors is other than the manifest says"):
        reconvert(HfFolder(other, "other"), store, [layer_file(2)], silent)

    assert not store.has(layer_file(2))
    assert left_aside(store) == []


@pytest.mark.parametrize("name", [CONFIG_FILE, GENERATION_CONFIG_FILE, "tokenizer.json", ENDS_FILE])
def test_another_small_file_is_noticed(store: LayerStore, tmp_path: Path, name: str):
    other = save_tiny_model(tmp_path / "other", "qwen3")
    (other / "generation_config.json").write_text('{"eos_token_id": 77}')
    before = (store.folder / name).read_bytes() if store.has(name) else None
    with pytest.raises(ModelError, match=f"{name} is other than the manifest says|lacks|has the shape"):
        reconvert(HfFolder(other, "other"), store, [name], silent)

    assert ((store.folder / name).read_bytes() if store.has(name) else None) == before


def test_only_files_of_the_manifest_are_made(store: LayerStore, folder: Path):
    for name in ("../evil.json", "vocab.json", layer_file(4)):
        with pytest.raises(StoreError, match="has no file"):
            reconvert(HfFolder(folder, "tiny"), store, [name], silent)


def test_a_full_disk_is_noticed_before_anything_is_read(
    store: LayerStore, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(folder)._replace(free=10)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(StoreError, match=r"needs [\d,]+ bytes and .* has 10 free"):
        reconvert(HfFolder(folder, "tiny"), store, [layer_file(2)], silent)

    assert left_aside(store) == []


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_needs_is_not(
    store: LayerStore, folder: Path
):
    """The lock on its folder ends with a process."""
    import fcntl

    for name in (".converting-dead", ".converting-alive"):
        (store.folder / name / "layers").mkdir(parents=True)
    held = os.open(store.folder / ".converting-alive", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    reconvert(HfFolder(folder, "tiny"), store, [layer_file(0)], silent)
    os.close(held)

    assert [path.name for path in left_aside(store)] == [".converting-alive"]


def test_a_folder_that_another_process_removes_before_it_is_locked_is_made_again(
    store: LayerStore, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """It looked like one of a killed process."""
    make, made = tempfile.mkdtemp, []

    def make_and_remove_once(**options: object) -> str:
        made.append(make(**options))
        if len(made) == 1:
            os.rmdir(made[0])
        return made[-1]

    monkeypatch.setattr("tempfile.mkdtemp", make_and_remove_once)
    reconvert(HfFolder(folder, "tiny"), store, [layer_file(0)], silent)

    assert store.has(layer_file(0))
    assert left_aside(store) == []


def test_a_store_that_can_not_be_written_is_one_clear_error(store: LayerStore, folder: Path, tmp_path: Path):
    gone = LayerStore(tmp_path / "gone", store.manifest, store.config_fields)
    with pytest.raises(StoreError, match="can't be written"):
        reconvert(HfFolder(folder, "tiny"), gone, [layer_file(0)], silent)
