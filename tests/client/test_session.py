"""A session keeps the tokens: servers get only what they don't hold, and a lost route is replaced."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from p2pinfer.client.chain import chain
from p2pinfer.client.chain.prefill import PREFILL_STEP_TOKENS
from p2pinfer.client.network import Network
from p2pinfer.client.reach.carrier import Carrier, HopCall
from p2pinfer.errors import HopFailedError, NoRouteError, PromptTooLongError, RefusedError, UsageError
from p2pinfer.tasks import ending
from p2pinfer.types import Address, PeerId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.status import Reason, Refused
from tests.client.sessions import THREE, decode, in_client, session_of
from tests.fakes import FakeEnds, FakeSwarm, fake_swarm, greedy_locally, run_locally


def tokens_run(swarm: FakeSwarm) -> int:
    """Count the tokens that the first server has run in its open sessions."""
    return sum(session.tokens_run for session in swarm.members[0].open_sessions)


async def test_tokens_come_out_as_from_one_machine():
    prompt = [1, 2, 3]
    async with fake_swarm(THREE) as swarm:
        text = await in_client(swarm, lambda network: decode(session_of(network), prompt, 20))
    assert text == greedy_locally(prompt, 20, 6)


async def test_what_the_servers_hold_is_not_computed_again_and_a_changed_text_is_rewound():
    def work(network: Network) -> None:
        with session_of(network) as session:
            session.compute([[1, 2, 3, 4]], [1])
            session.compute([[1, 2, 3, 4, 5, 6]], [1])
            assert tokens_run(swarm) == 6
            (hidden,) = session.compute([[1, 2, 9, 9]], [1])
            assert tokens_run(swarm) == 8
        ends = FakeEnds()
        assert np.array_equal(hidden, run_locally(ends.embed(np.array([1, 2, 9, 9])), 6)[-1:])

    async with fake_swarm(THREE) as swarm:
        await in_client(swarm, work)


async def test_a_long_prompt_goes_in_several_steps_and_comes_out_the_same():
    prompt = [index % 32 for index in range(700)]

    def work(network: Network):
        with session_of(network, max_length=800) as session:
            return session.compute([prompt], [len(prompt)])[0]

    async with fake_swarm(THREE) as swarm:
        hidden = await in_client(swarm, work)
    assert np.array_equal(hidden, run_locally(FakeEnds().embed(np.array(prompt)), 6))


async def test_a_server_dying_mid_answer_does_not_change_the_answer():
    """The spare gets the history and continues; the client sees one unbroken text."""
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm:
        loop = asyncio.get_running_loop()

        def kill_one_in_use(index: int) -> None:
            if index == 5:
                busy = next(m for m in swarm.members if m.engine.span == Span(2, 4) and len(m.sessions))
                asyncio.run_coroutine_threadsafe(swarm.kill(busy), loop).result()

        text = await in_client(
            swarm, lambda network: decode(session_of(network), [4, 5], 12, after=kill_one_in_use)
        )
    assert text == greedy_locally([4, 5], 12, 6)


async def test_a_full_server_is_passed_over_for_one_with_room():
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm:
        for member in swarm.members[1:2]:
            member.sessions._leased_layer_tokens = member.cache_tokens * len(member.engine.span)
        text = await in_client(swarm, lambda network: decode(session_of(network), [1], 3))
        assert swarm.members[3].engine.batch_sizes
    assert text == greedy_locally([1], 3, 6)


async def test_missing_layers_are_named_and_waited_for(caplog):
    """The client says which layers are missing, and goes on by itself when they appear."""
    async with fake_swarm([Span(0, 2), Span(4, 6), Span(2, 4)]) as swarm:
        late = swarm.members.pop()

        class JoinsWhenMissed(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "no server for layers 2-3" in record.getMessage() and late not in swarm.members:
                    swarm.members.append(late)

        handler = JoinsWhenMissed()
        logging.getLogger("p2pinfer.client.failover.mending").addHandler(handler)
        try:
            text = await in_client(swarm, lambda network: decode(session_of(network, route=30), [1], 3))
        finally:
            logging.getLogger("p2pinfer.client.failover.mending").removeHandler(handler)
    assert text == greedy_locally([1], 3, 6)
    assert "no server for layers 2-3; waiting for servers to join" in caplog.text


async def test_layers_that_never_come_are_an_error_that_names_them_and_the_limit():
    async with fake_swarm([Span(0, 2), Span(4, 6)]) as swarm:
        with pytest.raises(NoRouteError, match=r"layers 2-3.*waited 0 s") as error:
            await in_client(swarm, lambda network: session_of(network, route=0.1).compute([[1]], [1]))
    assert error.value.missing == (Span(2, 4),)


async def test_a_session_no_server_could_ever_take_is_refused_with_the_servers_reason():
    async with fake_swarm(THREE, cache_tokens=100) as swarm:
        with pytest.raises(RefusedError, match="100 in all"):
            await in_client(swarm, lambda network: session_of(network).compute([[1]], [1]))


async def test_a_text_beyond_the_limit_is_refused_before_anything_is_sent():
    async with fake_swarm(THREE) as swarm:
        with pytest.raises(PromptTooLongError, match="11 tokens: the session was opened for 10"):
            await in_client(
                swarm, lambda network: session_of(network, max_length=10).compute([[1] * 11], [1])
            )
        assert not any(member.engine.batch_sizes for member in swarm.members)


async def test_a_session_longer_than_the_model_is_refused():
    async with fake_swarm(THREE) as swarm:
        with pytest.raises(UsageError, match="takes from 1 to 4096 tokens"):
            await in_client(swarm, lambda network: session_of(network, max_length=10_000))


async def test_an_expired_session_is_opened_again_unnoticed():
    async with fake_swarm(THREE) as swarm:

        def expire(index: int) -> None:
            if index == 2:
                for member in swarm.members:
                    loop.call_soon_threadsafe(member.sessions.end_all, Refused(Reason.IDLE, "idle"))

        loop = asyncio.get_running_loop()
        text = await in_client(swarm, lambda network: decode(session_of(network), [3], 8, after=expire))
    assert text == greedy_locally([3], 8, 6)


class BreakableCall:
    """A hop's call that can end without a reason, as gRPC reports a refusal in the middle of a write."""

    def __init__(self, call: HopCall, peer_id: PeerId) -> None:
        self._call = call
        self._peer_id = peer_id
        self._broken, self._noticed = asyncio.Event(), asyncio.Event()

    async def frame(self) -> pb.ServerFrame:
        async with (
            ending(asyncio.ensure_future(self._call.frame())) as reading,
            ending(asyncio.create_task(self._broken.wait())) as broken,
        ):
            await asyncio.wait({reading, broken}, return_when=asyncio.FIRST_COMPLETED)
            if not broken.done():
                return reading.result()
        self._noticed.set()
        raise HopFailedError(self._peer_id, "internal", certain=False)

    async def break_off(self) -> None:
        """End the call, and wait until the client knows."""
        self._broken.set()
        await self._noticed.wait()


class BreakableCalls:
    """A carrier whose calls of open sessions can be broken."""

    def __init__(self, carrier: Carrier) -> None:
        self.calls: list[BreakableCall] = []
        self._carrier = carrier

    def __getattr__(self, name: str) -> object:
        return getattr(self._carrier, name)

    @asynccontextmanager
    async def open(self, address: Address, opening: pb.Opening) -> AsyncIterator[BreakableCall]:
        async with self._carrier.open(address, opening) as call:
            self.calls.append(BreakableCall(call, address.peer_id))
            yield self.calls[-1]


async def test_a_stream_that_breaks_while_its_server_lives_is_opened_again_though_there_is_no_other():
    async with fake_swarm(THREE) as swarm:

        def work(network: Network) -> list[int]:
            network.carrier = breakable = BreakableCalls(network.carrier)
            with session_of(network) as session:

                def break_the_stream(index: int) -> None:
                    if index == 2:
                        network.run(breakable.calls[0].break_off())

                text = decode(session, [3], 8, after=break_the_stream)
                assert session.replaced_hops == 1
                return text

        text = await in_client(swarm, work)
    assert text == greedy_locally([3], 8, 6)


async def test_several_threads_generate_at_once_each_its_own_text():
    prompts = [[1], [2, 3], [4, 5, 6], [7]]

    def work(network: Network) -> list[list[int]]:
        texts: list[list[int]] = [[] for _ in prompts]

        def one(index: int) -> None:
            with session_of(network) as session:
                texts[index] = decode(session, prompts[index], 10)

        threads = [threading.Thread(target=one, args=(index,)) for index in range(len(prompts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return texts

    async with fake_swarm(THREE) as swarm:
        texts = await in_client(swarm, work)
    assert texts == [greedy_locally(prompt, 10, 6) for prompt in prompts]


async def test_per_decoded_token_one_hidden_state_goes_out_and_one_comes_in(monkeypatch):
    """Counted in bytes, for one hop and for three: outputs between hops don't pass through the client."""
    counts: dict[int, tuple[int, int]] = {}
    for spans in ([Span(0, 6)], THREE):
        sent, received = [], []
        pack, read = chain.pack_step, chain.read_result

        def counting_pack(*args, pack=pack, sent=sent, **options):
            data = pack(*args, **options)
            sent.append(len(data))
            return data

        def counting_read(data, read=read, received=received, **asked):
            received.append(len(data))
            return read(data, **asked)

        monkeypatch.setattr(chain, "pack_step", counting_pack)
        monkeypatch.setattr(chain, "read_result", counting_read)
        async with fake_swarm(spans) as swarm:
            await in_client(swarm, lambda network: decode(session_of(network), [1, 2], 11))
        monkeypatch.undo()
        assert len(sent) == len(received) == 11
        counts[len(spans)] = (max(sent[1:]), max(received[1:]))

    hidden_bytes = 8 * 4
    for hops, (out, back) in counts.items():
        assert hidden_bytes <= out <= hidden_bytes + 36
        assert hidden_bytes <= back <= hidden_bytes + 24 + 8 * hops


def meeting(barrier: threading.Barrier, meets: Iterable[bool]) -> Callable[[], None]:
    """Make an engine's nth batch wait for another server's batch if the nth of `meets` is true."""
    batches = iter(meets)

    def before_forward() -> None:
        if next(batches):
            barrier.wait(timeout=60)

    return before_forward


async def test_the_pieces_of_a_prompt_are_computed_by_all_stages_at_the_same_time(monkeypatch):
    """The second server runs a piece while the first runs the next: neither passes the barrier alone."""
    monkeypatch.setattr(
        "p2pinfer.client.chain.chain.step_tokens", lambda _: PREFILL_STEP_TOKENS
    )  # also on a busy machine
    prompt = [index % 30 for index in range(PREFILL_STEP_TOKENS * 3)]
    barrier = threading.Barrier(2)
    async with fake_swarm([Span(0, 3), Span(3, 6)]) as swarm:
        swarm.members[0].engine.before_forward = meeting(barrier, [False, True, True])
        swarm.members[1].engine.before_forward = meeting(barrier, [True, True, False])
        (hidden,) = await in_client(
            swarm, lambda network: session_of(network, max_length=512).compute([prompt], [1])
        )

    assert np.array_equal(hidden[-1:], run_locally(FakeEnds().embed(np.array(prompt)), 6)[-1:])


async def test_steps_of_two_sessions_are_computed_by_two_stages_at_the_same_time():
    """While one session's token is at the second server, the first works for the other session."""
    barrier = threading.Barrier(2)
    async with fake_swarm([Span(0, 3), Span(3, 6)]) as swarm:

        def work(network: Network) -> list[list[int]]:
            sessions = [session_of(network), session_of(network)]
            for session in sessions:
                session.compute([[1, 2]], [1])
            swarm.members[0].engine.before_forward = meeting(barrier, [False, True])
            swarm.members[1].engine.before_forward = meeting(barrier, [True, False])
            threads = [
                threading.Thread(target=session.compute, args=([[1, 2, token]], [1]))
                for session, token in zip(sessions, (3, 4), strict=True)
            ]
            threads[0].start()
            while not swarm.members[0].engine.batch_sizes[2:]:
                time.sleep(0.001)
            threads[1].start()
            for thread in threads:
                thread.join(timeout=60)
            return [session.tokens[0] for session in sessions]

        assert await in_client(swarm, work) == [[1, 2, 3], [1, 2, 4]]
