"""What an owner got wrong is said at the start, without a download, a swarm or a loaded model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pinfer.errors import HubUnreachableError, ModelError, P2PInferError, UsageError
from p2pinfer.identity import Identity
from p2pinfer.model import source
from p2pinfer.model.formats.hub.repository import HubRepository
from p2pinfer.server.config import LEAST_CACHE_TOKENS, ServerConfig
from p2pinfer.server.life.model_loading import load_layers
from p2pinfer.server.life.start_checks import check_start
from p2pinfer.types import Span
from tests.model.tiny_models import tiny_store

PEER = Identity.ephemeral().peer_id


async def check(*flags: str) -> None:
    await check_start(ServerConfig.from_args(flags))


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tiny_store(tmp_path / "tiny", "llama").folder)


async def test_what_can_work_passes(store: str):
    await check(store)
    await check(store, "--layers", "0:1", "--initial-peers", f"/ip4/192.0.2.7/tcp/31330/p2p/{PEER}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--initial-peers", f"/ip4/192.0.2.7/tcp/99999/p2p/{PEER}"], "'99999' is no port"),
        (["--initial-peers", f"/ip4/192.0.2.7/tcp/1/p2p/{PEER[:-1]}"], "is no peer id"),
        (["--dht-listen", "nonsense"], "it names no host"),
        (["--dht-listen", "/dns4/localhost/tcp/0"], "IP addresses only"),
        (["--device", "cuda", "--engine", "native"], "the native engine runs on CPUs"),
        (["--layers", "1000:1001"], "has layers 0:"),
    ],
)
async def test_a_flag_that_cannot_work_is_named(store: str, flags: list[str], message: str):
    with pytest.raises(UsageError, match=message):
        await check(store, *flags)


async def test_a_missing_gpu_is_named(store: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        await check(store, "--device", "cuda")


async def test_a_folder_that_is_no_model_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"is no model folder: it has no config\.json"):
        await check(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        await check(str(tmp_path))


@pytest.mark.parametrize("model", ["/no/such/folder", "./none.gguf", "no model id!"])
async def test_a_model_that_cannot_exist_is_named(model: str):
    with pytest.raises(ModelError, match=r"no file or folder|neither a folder"):
        await check(model)


async def test_a_model_that_the_hub_lacks_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        source, "find_repository", _raising(ModelError("the Hugging Face hub has no model a/b"))
    )
    with pytest.raises(ModelError, match="hub has no model a/b"):
        await check("a/b")


async def test_a_model_that_the_hub_has_is_not_downloaded_yet(monkeypatch: pytest.MonkeyPatch):
    """One question is all."""
    asked = []

    def find(model: str) -> HubRepository:
        asked.append(model)
        return HubRepository(id=model, revision="0" * 40, files=frozenset())

    monkeypatch.setattr(source, "find_repository", find)
    await check("a/b")
    assert asked == ["a/b"]


async def test_a_hub_that_cannot_be_asked_is_told_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source, "find_repository", _raising(HubUnreachableError("the hub can't be reached")))
    with pytest.raises(HubUnreachableError):
        await check("a/b")


async def test_the_least_cache_is_enough_to_start_with(tmp_path: Path):
    store = tiny_store(tmp_path, "llama")
    flags = ["m", "--max-cache-tokens", str(LEAST_CACHE_TOKENS)]
    said: list[str] = []
    engine, _ = await load_layers(ServerConfig.from_args(flags), store, Span(0, 1), said.append)

    assert engine.span == Span(0, 1)
    assert said == []


async def test_more_cache_than_memory_is_said(tmp_path: Path):
    store = tiny_store(tmp_path, "llama")
    config = ServerConfig.from_args(["m", "--max-cache-tokens", str(2**40)])
    said: list[str] = []
    await load_layers(config, store, Span(0, 1), said.append)

    (line,) = said
    assert line.startswith(f"--max-cache-tokens {2**40}: this cache takes ")
    assert "choose at most" in line


async def test_layers_that_do_not_fit_into_memory_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "p2pinfer.server.life.model_loading.load_engine", _raising(MemoryError("no more memory"))
    )
    with pytest.raises(
        P2PInferError, match=r"0:1 .* don't fit into this machine's memory \(no more memory\)"
    ):
        await load_layers(ServerConfig.from_args(["m"]), tiny_store(tmp_path, "llama"), Span(0, 1), print)


def _raising(error: BaseException):
    def fail(*arguments: object, **named: object) -> None:
        raise error

    return fail
