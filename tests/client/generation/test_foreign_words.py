"""A hostile server over real gRPC: whatever it says, nothing that its client reads controls a terminal."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import torch

from p2pinfer.client.reach.grpc_carrier import GrpcCarrier
from p2pinfer.errors import HopFailedError, P2PInferError, RefusedError
from p2pinfer.identity import Identity
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.openai_api.errors import as_api_error
from p2pinfer.plain_text import harmless
from p2pinfer.sharing.fetch.calls import connected
from p2pinfer.types import Address
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire import sharing_pb2 as sharing
from p2pinfer.wire.certificates import new_certificate
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.status import REASON_KEY, Reason
from tests.client.tiny_swarm import tiny_model_in_a_swarm

EVIL = "\x1b]0;title\x07\x1b[31m\r\nERROR all is lost\u202e\u200b\x9b2J"
MOST_CHARACTERS_OF_A_LINE = 1_000
LENGTHS = {"short": 1, "long": 40, "endless": 1_500}


class Hostile:
    """Refuses or fails every call, with words of its own."""

    words = EVIL
    code = grpc.StatusCode.INTERNAL
    reason: Reason | None = None

    async def fail(self, request: object, context: Any) -> None:
        """Any call."""
        trailing = () if self.reason is None else ((REASON_KEY, self.reason.value),)
        await context.abort(self.code, self.words, trailing)

    Session = SetUpstream = SetDownstream = Progress = Settle = Ping = fail


class Inviting(Hostile):
    """Answers pings, so that clients open sessions."""

    def __init__(self, sessions: object, runner: object, load: Callable[[], Any]) -> None:
        self._load = load

    async def Ping(self, request: object, context: object) -> pb.PingReply:
        """As a server should."""
        return pb.PingReply(server=self._load().peer_id, free_cache_tokens=1_000)


@pytest.fixture(params=[None, Reason.BUSY, Reason.WRONG_MODEL], ids=str)
def reason(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reason | None:
    """How it refuses; None: its calls fail."""
    monkeypatch.setattr(Hostile, "reason", request.param)
    return request.param


def assert_harmless(text: str) -> None:
    """Only printable characters, and no line without end."""
    assert harmless(text) == text
    assert "\r" not in text and "\nERROR" not in text
    assert max(map(len, text.splitlines()), default=0) < MOST_CHARACTERS_OF_A_LINE


def assert_all_harmless(error: BaseException) -> None:
    """What a user, a log or a traceback shows of it, and of what it came from."""
    for text in (str(error), repr(error), *map(str, error.args)):
        assert_harmless(text)
    for line in traceback.format_exception(error):
        assert_harmless(line)


@pytest.mark.parametrize("length", LENGTHS.values(), ids=LENGTHS)
async def test_errors_of_calls_are_harmless(
    length: int, reason: Reason | None, monkeypatch: pytest.MonkeyPatch
):
    """Calls with one answer and with many, those of sessions and those for files."""
    monkeypatch.setattr(Hostile, "words", EVIL * length)
    hostile, certificate, server = Hostile(), new_certificate(), grpc.aio.server()
    one, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    for service, methods in (
        ("Inference", {"Ping": one(hostile.fail), "Session": many(hostile.Session)}),
        ("Sharing", {"GetManifest": many(hostile.Session)}),
    ):
        handler = grpc.method_handlers_generic_handler(f"p2pinfer.wire.{service}", methods)
        server.add_generic_rpc_handlers((handler,))
    port = server.add_secure_port("127.0.0.1:0", certificate.credentials)
    await server.start()
    address = Address(Identity.ephemeral().peer_id, (f"127.0.0.1:{port}",), certificate.der)
    carrier, pool = GrpcCarrier(None), ChannelPool(ways=None)
    try:
        for work in (_ping, _open):
            with pytest.raises((RefusedError, HopFailedError)) as caught:
                await work(carrier, address)
            assert_all_harmless(caught.value)
            assert length > 40 or "all is lost" in str(caught.value)  # gRPC takes no words without end
        with pytest.raises((RefusedError, HopFailedError)) as caught:
            async with connected(pool, address) as calls:
                await anext(calls.manifest(sharing.ManifestRequest(), 5.0))
        assert_all_harmless(caught.value)
    finally:
        await carrier.close()
        await pool.close()
        await server.stop(None)


async def _ping(carrier: GrpcCarrier, address: Address) -> None:
    await carrier.ping(address)


async def _open(carrier: GrpcCarrier, address: Address) -> None:
    async with carrier.open(address, pb.Opening()) as call:
        await call.frame()


def test_what_generate_raises_and_logs_is_harmless(
    store: LayerStore, reason: Reason | None, monkeypatch: pytest.MonkeyPatch, caplog
):
    """And the answer of a gateway, which says the same."""
    monkeypatch.setattr("tests.fakes.Handler", Inviting)
    caplog.set_level(logging.DEBUG, logger="p2pinfer")
    with tiny_model_in_a_swarm(store, route_seconds=0.5) as model:
        started = time.monotonic()
        with pytest.raises(P2PInferError) as caught:
            model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=2, do_sample=False)
        assert time.monotonic() - started < 20
    assert "all is lost" in caplog.text + "".join(traceback.format_exception(caught.value))
    assert_all_harmless(caught.value)
    assert_harmless(as_api_error(caught.value).message)
    for record in caplog.records:
        assert_harmless(record.getMessage())
