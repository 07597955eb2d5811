"""`python -m p2pinfer.stores` shows the models in the cache folder and removes some."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.sharing.disk.shelf import list_stores
from p2pinfer.sharing.disk.use import using
from p2pinfer.stores import main
from tests.sharing.disk.stores import mark, put_fetched, put_store


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    mark(put_fetched(tmp_path, "smol", 1), used_at=86_400.0, made_at=1.0)
    put_store(tmp_path / "smol-2", "smol", 2)
    put_store(tmp_path / "nasty", "\u00e9vil", 3, files=("config.json",))
    return tmp_path


def test_the_models_are_listed_with_what_is_known_of_them(cache: Path, capsys: pytest.CaptureFixture[str]):
    (used,) = (store for store in list_stores(cache) if store.name == "évil")
    with using(cache, used.path):
        assert main(["list", "--cache-folder", str(cache)]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["model", "hash", "size", "last", "used"]
    assert any(line.startswith("évil") and "in use, partial" in line for line in lines)
    assert any("1970-01-02  older than another of its name" in line for line in lines)
    assert lines[-1].startswith("3 models, ") and lines[-1].endswith(f" in {cache}")


def test_an_empty_cache_is_said_to_be_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["list", "--cache-folder", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"there is no model in {tmp_path / 'none'}\n"


def test_pruning_says_what_goes(cache: Path, capsys: pytest.CaptureFixture[str]):
    flags = ["prune", "--cache-folder", str(cache), "--budget-gb", "0"]
    assert main([*flags, "--dry-run"]) == 0
    would = capsys.readouterr().out.splitlines()
    assert len(list_stores(cache)) == 3
    assert main(flags) == 0
    did = capsys.readouterr().out.splitlines()

    assert [line.replace("would remove", "removed") for line in would] == did
    assert did[0].startswith("removed smol@") and did[0].endswith("last used 1970-01-02")
    assert list_stores(cache) == []
    assert main(flags) == 0
    assert capsys.readouterr().out == "no model has to go\n"


def test_room_that_cannot_be_made_is_a_failure(cache: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["prune", "--cache-folder", str(cache), "--free-gb", "1000000"]) == 1
    assert "p2pinfer.stores: no room for 1000 TB" in capsys.readouterr().err
    assert len(list_stores(cache)) == 3
