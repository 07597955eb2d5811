"""What one guest can't take from the others, over real gRPC and real lanes."""

from __future__ import annotations

import numpy as np
import pytest

from p2pinfer.errors import RefusedError
from p2pinfer.fairness.merits import KNOWN_TOKENS
from p2pinfer.fairness.rates import RateBound
from p2pinfer.identity import Identity
from p2pinfer.server.streams.step_stream import State
from p2pinfer.types import Span
from tests.fakes import fake_swarm, random_hidden, run_locally
from tests.server.wire_client import opened, until

LAYERS = Span(0, 2)


async def test_an_opening_that_leases_the_whole_cache_keeps_nobody_out():
    """What it doesn't use is taken back. It goes on, with the same outputs, as long as there is room."""
    hidden = random_hidden(40)
    async with fake_swarm([LAYERS], cache_tokens=256) as swarm:
        async with opened(swarm, max_tokens=256) as greedy:
            first = await greedy.run(hidden[:20], 0)
            assert swarm.members[0].sessions.free_cache_tokens == 0
            assert swarm.members[0].sessions.obtainable_tokens == 128
            async with opened(swarm, max_tokens=64) as other:
                assert np.array_equal(await other.run(hidden, 0), run_locally(hidden, 2))
                rest = await greedy.run(hidden[20:], 20)
        assert np.array_equal(np.concatenate([first, rest]), run_locally(hidden, 2))
        await until(lambda: swarm.members[0].sessions.free_cache_tokens == 256)


async def test_who_needs_what_others_have_now_is_told_that_the_server_is_full():
    async with fake_swarm([LAYERS], cache_tokens=128) as swarm:
        async with opened(swarm, max_tokens=128) as greedy:
            await greedy.run(random_hidden(16), 0)
            async with opened(swarm, max_tokens=64), opened(swarm, max_tokens=32):
                with pytest.raises(RefusedError, match="others wait for cache") as refused:
                    await greedy.send_and_wait(random_hidden(100), 16)
                assert refused.value.reason == "cache-full"
                assert refused.value.retry_after_seconds > 0


async def test_keys_that_have_taken_all_sessions_make_room_for_others(monkeypatch):
    monkeypatch.setattr("p2pinfer.server.door.admission.MAX_SESSIONS", 4)
    monkeypatch.setattr("p2pinfer.server.door.room_finder.MAX_SESSIONS", 4)
    crowd = Identity.ephemeral()
    async with fake_swarm([LAYERS]) as swarm:
        async with (
            opened(swarm, identity=crowd),
            opened(swarm, identity=crowd),
            opened(swarm, identity=crowd),
        ):
            async with opened(swarm, identity=crowd) as newest, opened(swarm) as other:
                hidden = random_hidden(3)
                assert np.array_equal(await other.run(hidden, 0), run_locally(hidden, 2))
                with pytest.raises(RefusedError, match="others wait") as refused:
                    await newest.hops[0].frame()
                assert refused.value.reason == "cache-full"
                with pytest.raises(RefusedError) as refused:
                    async with opened(swarm, identity=crowd):
                        pass
                assert refused.value.reason == "busy"


async def test_fresh_sessions_of_a_client_that_never_signs_come_to_their_turn_slowly():
    """Two sessions may run ahead as far as each of them may; the third waits until that has come back."""
    key, hidden = Identity.ephemeral(), random_hidden(64)
    async with fake_swarm([LAYERS], receipt_tokens=64) as swarm:
        async with opened(swarm, identity=key) as one, opened(swarm, identity=key) as two:
            await one.run(hidden, 0)
            await two.run(hidden, 0)
            async with opened(swarm, identity=key) as three, opened(swarm) as other:
                await three.send_row(hidden, 0)
                third = swarm.members[0].open_sessions[2]
                await until(lambda: third.stream.state is State.UNSIGNED)
                assert np.array_equal(await other.run(hidden, 0), run_locally(hidden, 2))
                assert third.stream.state is State.UNSIGNED


async def test_more_openings_than_anybody_needs_are_refused(monkeypatch):
    monkeypatch.setattr("p2pinfer.server.door.handler.OPENINGS", RateBound(per_key=2, per_source=9, in_all=9))
    key = Identity.ephemeral()
    async with fake_swarm([LAYERS]) as swarm:
        for _ in range(2):
            async with opened(swarm, identity=key):
                pass
        with pytest.raises(RefusedError, match="too many sessions") as refused:
            async with opened(swarm, identity=key):
                pass
        assert refused.value.reason == "busy"
        assert 0 < refused.value.retry_after_seconds <= 30
        async with opened(swarm):
            pass


async def test_openings_of_a_crowd_keep_nobody_out_who_is_known(monkeypatch):
    """Also one who comes from the same network."""
    monkeypatch.setattr("p2pinfer.server.door.handler.OPENINGS", RateBound(per_key=2, per_source=3, in_all=3))
    known = Identity.ephemeral()
    async with fake_swarm([LAYERS]) as swarm:
        swarm.members[0].sessions.accounts.merits.load([(known.public_key, KNOWN_TOKENS)])
        for _ in range(3):
            async with opened(swarm):
                pass
        with pytest.raises(RefusedError, match="too many sessions"):
            async with opened(swarm):
                pass
        async with opened(swarm, identity=known) as session:
            assert len(await session.run(random_hidden(3), 0)) == 3
