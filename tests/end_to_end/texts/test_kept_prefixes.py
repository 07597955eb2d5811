"""Real servers keep what a client has had computed: for its next process, and for nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.texts.request import TextRequest
from p2pinfer.client.texts.text_model import TextModel
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import PeerId
from p2pinfer.wire.receipts import Receipt, read_receipt
from tests.end_to_end.test_departures import in_use

INSTRUCTION = "Read the report of the harbour master and say in one sentence what happened. " * 20
QUESTION = "The report: a dragon came at night, ate the cheese of three ships and left before dawn."
TOKENS = 24


@dataclass(frozen=True)
class Answer:
    tokens: list[int]
    cached: int
    prefill: dict[PeerId, int]
    """Tokens of the prompt that the client has signed for, by server."""


def receipts_of(model: TextModel) -> list[Receipt]:
    """What the client and servers have both signed."""
    return [read_receipt(one) for one in model._remote.network.payer.receipts]


def answer(
    swarm: LocalSwarm,
    store: LayerStore,
    identity: Path,
    *,
    reuses: bool = True,
    kills: int | None = None,
) -> Answer:
    """An answer from a client that knows of no other. `kills`: the hop that dies meanwhile."""

    async def ask() -> Answer:
        model = await TextModel.open(
            store.folder,
            initial_peers=swarm.initial_peers,
            identity=identity,
            limits=PoolLimits(reuse_prefixes=reuses),
        )
        async with model:
            shared = model.tokenizer.encode(INSTRUCTION)
            request = TextRequest(
                prompt=[*shared, *model.tokenizer.encode(QUESTION)],
                max_tokens=TOKENS,
                stop_tokens=frozenset(),
                shared_prefix_tokens=len(shared),
            )
            tokens: list[int] = []
            async with model.generate(request) as text:
                async for part in text:
                    tokens += [token.token for token in part.tokens]
                    if kills is not None and len(tokens) >= 5:
                        in_use(swarm, text.route().hops[kills].peer_id).kill()
                        break
                async for part in text:
                    tokens += [token.token for token in part.tokens]
            assert text.end is not None
            hops = {hop.peer_id for hop in text.route().hops}
            model.end_texts()
            async with asyncio.timeout(60):
                while not hops <= {one.server for one in receipts_of(model)}:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            receipts = receipts_of(model)
        return Answer(
            tokens=tokens,
            cached=text.end.cached_tokens,
            prefill={one.server: one.work.prefill_tokens for one in receipts if one.server in hops},
        )

    return asyncio.run(ask())


def test_what_was_computed_is_recalled_fed_and_replayed_and_no_token_changes(smollm2, tmp_path):
    alice, bob = tmp_path / "alice", tmp_path / "bob"
    spans = split_layers(30, 3)
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, spans, threads=1)
        first, middle, last = swarm.peer_ids

        expected = answer(swarm, smollm2, alice, reuses=False)
        assert expected.cached == 0
        whole = expected.prefill[first]
        assert whole > 300
        assert expected.prefill == dict.fromkeys(swarm.peer_ids, whole)

        one = answer(swarm, smollm2, alice)  # nothing was kept
        assert (one.tokens, one.cached) == (expected.tokens, 0)
        assert one.prefill == expected.prefill

        again = answer(swarm, smollm2, alice)  # another process of hers
        assert again.tokens == expected.tokens
        assert again.cached > 280
        assert again.prefill == dict.fromkeys(swarm.peer_ids, whole - again.cached)

        other = answer(swarm, smollm2, bob)
        assert (other.tokens, other.cached) == (expected.tokens, 0)
        assert other.prefill == expected.prefill

        swarm.restart(1)  # the server in the middle has forgotten everything
        swarm.wait_ready()
        fed = answer(swarm, smollm2, alice)
        assert (fed.tokens, fed.cached) == (expected.tokens, 0)
        assert fed.prefill == {first: whole - again.cached, middle: whole, last: whole}

        healed = answer(swarm, smollm2, alice)
        assert (healed.tokens, healed.cached) == (expected.tokens, again.cached)

        swarm.start(smollm2.folder, [spans[2]], threads=1)
        lost = answer(swarm, smollm2, alice, kills=2)
        assert lost.tokens == expected.tokens
