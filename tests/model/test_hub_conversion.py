"""A model id that this machine lacks: converted from the hub, interrupted, and gone on with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from p2pinfer.errors import HubUnreachableError, ModelError, StoreError
from p2pinfer.model.formats.hf_folder import HfFolder
from p2pinfer.model.formats.hub.patience import Patience
from p2pinfer.model.formats.lookup import source_of
from p2pinfer.model.layer_store.journal import JOURNAL_FILE
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import convert_model, find_model, open_model
from p2pinfer.types import Span
from tests.model.formats.hub.loopback_hub import COMMIT, LoopbackHub
from tests.model.tiny_models import save_tiny_model

MODEL = "some/tiny-of-these-tests"


def silent(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model", "llama")


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """This process's hub, of which nobody expects anything after the first failure."""
    monkeypatch.setattr("p2pinfer.model.formats.hub.model.PATIENCE", Patience(most_failures=0))
    with LoopbackHub({MODEL: folder}) as running:
        running.become_the_hub(monkeypatch)
        yield running


def fail_from_layer(hub: LoopbackHub, folder: Path, layer: int, fault: str = "503") -> None:
    """Let every question for a layer's tensors fail."""
    places = HfFolder(folder, "tiny").origin.tensors
    bad = {(at.start, at.end) for name, at in places.items() if name.startswith(f"layers.{layer}.")}
    hub.fault_of = lambda asked: fault if (asked.start, asked.end) in bad else ""


def layers_read(hub: LoopbackHub, folder: Path) -> set[int]:
    """Of which layers tensors were asked for."""
    layers = {
        at.start: int(name.split(".")[1])
        for name, at in HfFolder(folder, "tiny").origin.tensors.items()
        if name.startswith("layers.")
    }
    return {layers[asked.start] for asked in hub.weights_asked if asked.start in layers}


def test_a_model_id_is_converted_without_a_copy_of_its_weights(
    hub: LoopbackHub, folder: Path, tmp_path: Path
):
    store = open_model(MODEL, cache_folder=tmp_path / "cache", progress=silent)
    local = convert_model(str(folder), tmp_path / "local", silent)
    store.verify()

    assert store.manifest.hash == local.manifest.hash
    assert store.manifest.origin.words == f"{MODEL} at {COMMIT[:12]}, safetensors BF16"
    assert not (store.folder / JOURNAL_FILE).exists()
    assert hub.questions == 1


def test_what_was_made_of_a_hubs_model_needs_no_hub_any_more(hub: LoopbackHub, tmp_path: Path):
    """Nor does a new commit on the hub make another store."""
    first = open_model(MODEL, cache_folder=tmp_path, progress=silent)
    hub.release("b" * 40, {})
    second = open_model(MODEL, cache_folder=tmp_path, progress=silent)

    assert second.folder == first.folder == find_model(MODEL, tmp_path)
    assert hub.questions == 1


@pytest.mark.parametrize("fault", ["503", "elsewhere", "whole"])
def test_a_conversion_that_broke_off_goes_on(hub: LoopbackHub, folder: Path, tmp_path: Path, fault: str):
    """The next one reads the layers that are missing, and says so."""
    fail_from_layer(hub, folder, 2, fault)
    lines: list[str] = []
    with pytest.raises(ModelError):
        open_model(MODEL, cache_folder=tmp_path / "cache", progress=lines.append)
    hub.fault_of = lambda asked: ""
    hub.weights_asked.clear()
    store = open_model(MODEL, cache_folder=tmp_path / "cache", progress=lines.append)
    store.verify()

    assert layers_read(hub, folder) == {2, 3}
    assert any("stays in" in line and "goes on from there" in line for line in lines)
    assert "going on: 3 of 5 files were finished before" in lines
    assert store.manifest.hash == convert_model(str(folder), tmp_path / "local", silent).manifest.hash


def test_a_hub_that_breaks_off_is_told_apart(hub: LoopbackHub, folder: Path, tmp_path: Path):
    """A server tries again later."""
    fail_from_layer(hub, folder, 1)
    with pytest.raises(HubUnreachableError, match=r"model\.safetensors of some/tiny"):
        open_model(MODEL, cache_folder=tmp_path, progress=silent)


def test_a_finished_file_that_was_altered_since_is_made_again(hub: LoopbackHub, folder: Path, tmp_path: Path):
    fail_from_layer(hub, folder, 2)
    with pytest.raises(HubUnreachableError):
        open_model(MODEL, cache_folder=tmp_path, progress=silent)
    (unfinished,) = tmp_path.glob(".*.unfinished")
    altered = unfinished / layer_file(0)
    altered.write_bytes(altered.read_bytes()[:-1] + b"!")
    with (unfinished / JOURNAL_FILE).open("a") as journal:
        journal.write('["layers/00002.safetensors", "ab')  # a line that was cut
    hub.fault_of = lambda asked: ""
    hub.weights_asked.clear()
    open_model(MODEL, cache_folder=tmp_path, progress=silent).verify()

    assert layers_read(hub, folder) == {0, 2, 3}


def test_a_conversion_goes_on_at_the_commit_at_which_it_began(hub: LoopbackHub, folder: Path, tmp_path: Path):
    """Somebody edits the model's card meanwhile."""
    fail_from_layer(hub, folder, 2)
    with pytest.raises(HubUnreachableError):
        open_model(MODEL, cache_folder=tmp_path / "cache", progress=silent)
    hub.fault_of = lambda asked: ""
    hub.weights_asked.clear()
    hub.release("b" * 40, {MODEL: save_tiny_model(tmp_path / "newer", "qwen3")})
    store = open_model(MODEL, cache_folder=tmp_path / "cache", progress=silent)

    assert store.manifest.origin.revision == COMMIT
    assert store.manifest.model_type == "llama"
    assert layers_read(hub, folder) == {2, 3}


def test_a_conversion_begins_anew_if_its_commit_is_gone(hub: LoopbackHub, folder: Path, tmp_path: Path):
    fail_from_layer(hub, folder, 2)
    with pytest.raises(HubUnreachableError):
        open_model(MODEL, cache_folder=tmp_path / "cache", progress=silent)
    newer = save_tiny_model(tmp_path / "newer", "qwen3")
    hub.fault_of = lambda asked: ""
    del hub.commits[COMMIT]
    hub.release("b" * 40, {MODEL: newer})
    store = open_model(MODEL, cache_folder=tmp_path / "cache", progress=silent)
    store.verify()

    assert store.manifest.origin.revision == "b" * 40
    assert store.manifest.hash == convert_model(str(newer), tmp_path / "local", silent).manifest.hash


def test_a_conversion_into_a_folder_goes_on_too(hub: LoopbackHub, folder: Path, tmp_path: Path):
    fail_from_layer(hub, folder, 2)
    out = tmp_path / "store"
    with pytest.raises(HubUnreachableError):
        convert_model(MODEL, out, silent)
    hub.fault_of = lambda asked: ""
    hub.weights_asked.clear()
    convert_model(MODEL, out, silent).verify()

    assert layers_read(hub, folder) == {2, 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "store"]


def test_a_share_is_converted_with_room_for_the_share(hub: LoopbackHub, folder: Path, tmp_path: Path):
    """Every layer is read, for its hash; the layers of others are never written. It goes on, too."""
    whole = convert_model(str(folder), tmp_path / "whole", silent)
    fail_from_layer(hub, folder, 3)
    with pytest.raises(HubUnreachableError):
        convert_model(MODEL, tmp_path / "share", silent, kept=range(2))
    hub.fault_of = lambda asked: ""
    hub.weights_asked.clear()
    store = convert_model(MODEL, tmp_path / "share", silent, kept=range(2))

    assert layers_read(hub, folder) == {3}
    assert store.manifest.hash == whole.manifest.hash
    assert store.missing(store.manifest.files) == (layer_file(2), layer_file(3))


def test_going_on_with_another_share_keeps_what_is_asked_for_now(
    hub: LoopbackHub, folder: Path, tmp_path: Path
):
    fail_from_layer(hub, folder, 3)
    with pytest.raises(HubUnreachableError):
        convert_model(MODEL, tmp_path / "share", silent, kept=range(2))
    hub.fault_of = lambda asked: ""
    hub.weights_asked.clear()
    store = convert_model(MODEL, tmp_path / "share", silent, kept=range(1, 3))

    assert layers_read(hub, folder) == {2, 3}
    assert store.missing(store.manifest.files) == (layer_file(0), layer_file(3))
    store.verify(Span(1, 3))


def test_the_source_of_a_store_is_found_by_its_origin(hub: LoopbackHub, tmp_path: Path):
    """At the commit of the store, whatever `main` is by now."""
    store = open_model(MODEL, cache_folder=tmp_path / "cache", progress=silent)
    hub.release("b" * 40, {MODEL: save_tiny_model(tmp_path / "newer", "qwen3")})
    source = source_of(store.manifest.origin, silent)

    assert source is not None
    assert source.origin == store.manifest.origin
    assert source_of(Origin(format="GGUF Q4_1"), silent) is None


def test_a_revision_may_be_asked_for(hub: LoopbackHub, folder: Path, tmp_path: Path):
    hub.release("b" * 40, {MODEL: save_tiny_model(tmp_path / "newer", "qwen3")})
    store = convert_model(MODEL, tmp_path / "old", silent, revision=COMMIT)

    assert store.manifest.model_type == "llama"
    with pytest.raises(ModelError, match="no revision nothing"):
        convert_model(MODEL, tmp_path / "none", silent, revision="nothing")


def test_a_full_disk_leaves_nothing(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(StoreError, match="1,000 free"):
        open_model(MODEL, cache_folder=tmp_path / "cache", progress=silent)

    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_caller_may_end_a_conversion_and_go_on_later(hub: LoopbackHub, folder: Path, tmp_path: Path):
    """As an owner who wants the network now: what is finished stays."""

    class WantedError(Exception):
        pass

    received_bytes = 0

    def count(size_bytes: int) -> None:
        nonlocal received_bytes
        received_bytes += size_bytes
        if 2 in layers_read(hub, folder):
            raise WantedError

    with pytest.raises(WantedError):
        open_model(MODEL, cache_folder=tmp_path / "cache", progress=silent, on_received=count)
    hub.weights_asked.clear()
    open_model(MODEL, cache_folder=tmp_path / "cache", progress=silent).verify()

    assert received_bytes > 0
    assert layers_read(hub, folder) == {2, 3}


def in_two_threads(work: Callable[[], LayerStore]) -> list[LayerStore | Exception]:
    """What both return or raise. Locks are of open files, so threads exclude each other as processes do."""
    with ThreadPoolExecutor(2) as threads:
        tries = [threads.submit(work) for _ in range(2)]
        return [error if (error := one.exception()) else one.result() for one in tries]


def test_two_that_open_a_hubs_model_at_once_read_it_once(hub: LoopbackHub, tmp_path: Path):
    one, other = in_two_threads(lambda: open_model(MODEL, cache_folder=tmp_path, progress=silent))

    assert isinstance(one, LayerStore)
    assert isinstance(other, LayerStore)
    assert one.folder == other.folder
    assert len(hub.weights_asked) == len(set(hub.weights_asked))


def test_two_that_convert_into_one_folder_make_one_store(hub: LoopbackHub, tmp_path: Path):
    """The second one waits, and then says that the folder isn't empty."""
    results = in_two_threads(lambda: convert_model(MODEL, tmp_path / "out", silent))

    assert sorted(type(result).__name__ for result in results) == ["LayerStore", "StoreError"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]


CONVERTING = (
    "import sys; from pathlib import Path; from p2pinfer.model.source import open_model\n"
    "say = lambda line: print(line, flush=True)\n"
    "open_model(sys.argv[1], cache_folder=Path(sys.argv[2]), progress=say).verify(); print('opened')"
)


def test_a_process_that_is_killed_loses_at_most_a_layer(folder: Path, tmp_path: Path):
    """With HF_ENDPOINT, as users set it. The hub stalls at the third layer until the process is dead."""
    with LoopbackHub({MODEL: folder}) as hub:
        environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}
        command = [sys.executable, "-c", CONVERTING, MODEL, str(tmp_path / "cache")]
        fail_from_layer(hub, folder, 2, "stall")
        with subprocess.Popen(command, env=environment) as process:
            assert hub.stalled.wait(60)
            os.kill(process.pid, signal.SIGKILL)
        hub.fault_of = lambda asked: ""
        hub.weights_asked.clear()
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

        assert "opened" in output
        assert layers_read(hub, folder) == {2, 3}
