"""The program `p2pinfer.convert`: a share, a verification, an interruption."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from p2pinfer import convert
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.model.layer_store.store import LayerStore
from tests.model.formats.gguf.tiny_gguf import plain_model, write_gguf
from tests.model.formats.hub.loopback_hub import COMMIT, LoopbackHub
from tests.model.tiny_models import save_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model", "llama")


def test_a_share_has_the_manifest_of_all(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Who begins a swarm can give the ends and its own layers to others."""
    assert convert.main([str(folder), "--out", str(tmp_path / "whole")]) == 0
    assert convert.main([str(folder), "--out", str(tmp_path / "share"), "--share-only", "1:3"]) == 0
    whole, share = LayerStore.open(tmp_path / "whole"), LayerStore.open(tmp_path / "share")
    output = capsys.readouterr().out

    assert share.manifest.hash == whole.manifest.hash
    assert share.missing(share.manifest.files) == (layer_file(0), layer_file(3))
    assert sorted(path.name for path in (share.folder / "layers").iterdir()) == [
        "00001.safetensors",
        "00002.safetensors",
    ]
    assert "here are the manifest, the ends, the tokenizer and layers 1:3" in output
    assert "2 of 4 layers are not here" in output


def test_a_share_may_be_no_layers_at_all(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert convert.main([str(folder), "--out", str(tmp_path / "share"), "--share-only"]) == 0
    share = LayerStore.open(tmp_path / "share")

    assert share.missing(share.manifest.files) == tuple(map(layer_file, range(4)))
    assert "the tokenizer and no layers" in capsys.readouterr().out


def test_a_gguf_file_gives_a_share_too(tmp_path: Path):
    write_gguf(plain_model(tmp_path / "m", "llama"), tmp_path / "m.gguf", "llama")
    assert (
        convert.main([str(tmp_path / "m.gguf"), "--out", str(tmp_path / "out"), "--share-only", "0:1"]) == 0
    )

    assert LayerStore.open(tmp_path / "out").has(layer_file(0))


def test_a_share_needs_room_for_the_share(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The disk has no room for all layers."""
    usage = shutil.disk_usage(tmp_path)._replace(free=(1 << 20) + 40_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert convert.main([str(folder), "--out", str(tmp_path / "whole")]) == 1
    assert "disk is too full" in capsys.readouterr().err
    assert convert.main([str(folder), "--out", str(tmp_path / "share"), "--share-only", "0:1"]) == 0


def test_layers_that_the_model_lacks_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert convert.main([str(folder), "--out", str(tmp_path / "out"), "--share-only", "3:9"]) == 1

    assert capsys.readouterr().err == "p2pinfer.convert: model has layers 0:4\n"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_store_is_verified_against_its_original(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A partial store as well, by its folder or its manifest."""
    share = tmp_path / "share"
    convert.main([str(folder), "--out", str(share), "--share-only", "0:1"])
    for store in (str(share), str(share / "manifest.json")):
        assert convert.main(["--verify", store, "--source", str(folder)]) == 0
    assert "of 4 layers all" in capsys.readouterr().out
    assert convert.main(["--verify", str(share), "--source", str(folder), "--sample", "2"]) == 0
    assert "of 4 layers 2 drawn at random" in capsys.readouterr().out


def test_a_difference_has_a_status_and_names_both(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    convert.main([str(folder), "--out", str(tmp_path / "store")])
    other = save_tiny_model(tmp_path / "other", "llama", initializer_range=0.1)
    status = convert.main(["--verify", str(tmp_path / "store"), "--source", str(other)])
    output = capsys.readouterr().out

    assert status == 1
    assert "different: config.json; 0 files before it are equal" in output
    assert "the manifest says: local files, safetensors BF16" in output
    assert "the source is:     local files, safetensors BF16" in output


def test_a_store_in_the_cache_is_found_by_its_hash(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    cache = tmp_path / "cache"
    convert.main([str(folder), "--out", str(cache / "shared" / "tiny")])
    (cache / "broken").mkdir()
    (cache / "broken" / "manifest.json").write_text("{")
    known = LayerStore.open(cache / "shared" / "tiny").manifest.hash
    flags = ["--source", str(folder), "--cache-folder", str(cache), "--sample", "0"]

    for given in (known, known[:8], f"tiny@{known[:16]}"):
        assert convert.main(["--verify", given, *flags]) == 0
    for given, words in (("0" * 64, f"no store in {cache} has the hash {'0' * 64}"), ("tiny", "no folder")):
        assert convert.main(["--verify", given, *flags]) == 2  # 1 says that they differ
        assert words in capsys.readouterr().err


def test_a_hubs_model_is_verified_at_the_commit_that_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """`main` has moved on: the difference says how to compare with the old commit."""
    with LoopbackHub({"some/tiny-of-convert": folder}) as hub:
        hub.become_the_hub(monkeypatch)
        convert.main(["some/tiny-of-convert", "--out", str(tmp_path / "store")])
        newer = save_tiny_model(tmp_path / "newer", "llama", initializer_range=0.1)
        hub.release("b" * 40, {"some/tiny-of-convert": newer})
        verifying = ["--verify", str(tmp_path / "store"), "--source", "some/tiny-of-convert"]

        assert convert.main(verifying) == 1
        assert f"add --revision {COMMIT}" in capsys.readouterr().out
        assert convert.main([*verifying, "--revision", COMMIT]) == 0


@pytest.mark.parametrize("is_from_hub", [True, False])
def test_an_interruption_says_what_is_kept(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_from_hub: bool,
):
    """Ctrl-C: of local files nothing is left, of the hub's all that is finished."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with LoopbackHub({"some/tiny-of-convert": folder}) as hub:
        hub.become_the_hub(monkeypatch)
        monkeypatch.setattr("p2pinfer.model.layer_store.writer.StoreWriter.finish", interrupt)
        model = "some/tiny-of-convert" if is_from_hub else str(folder)
        status = convert.main([model, "--out", str(tmp_path / "out")])
    words = "the same command goes on from here" if is_from_hub else "nothing was kept"

    assert status == 130
    assert capsys.readouterr().err == f"p2pinfer.convert: stopped; {words}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [*[".out.unfinished"] * is_from_hub, "model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "MODEL and --out FOLDER are needed"),
        (["m"], "MODEL and --out FOLDER are needed"),
        (["m", "--out", "o", "--sample", "3"], "--sample belongs to --verify"),
        (["m", "--out", "o", "--source", "m"], "--source belongs to --verify"),
        (["--verify", "s"], "needs --source MODEL"),
        (["m", "--verify", "s", "--source", "m"], "leave MODEL, --out and --share-only away"),
        (["m", "--out", "o", "--share-only", "3:1"], "3:1"),
    ],
)
def test_flags_that_do_not_belong_together_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        convert.main(arguments)

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_manifest_of_a_share_is_the_one_of_the_whole(folder: Path, tmp_path: Path):
    """Byte by byte, with the places of all tensors."""
    convert.main([str(folder), "--out", str(tmp_path / "whole")])
    convert.main([str(folder), "--out", str(tmp_path / "share"), "--share-only"])
    one, other = ((tmp_path / name / "manifest.json").read_bytes() for name in ("whole", "share"))

    assert one == other
    assert json.loads(one)["origin"]["tensors"]["norm.weight"][0] == "model.safetensors"
