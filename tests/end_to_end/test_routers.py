"""A swarm of real processes behind home routers: real NAT, and nobody is told where anybody is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from transformers import PreTrainedTokenizerBase

from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.reach.first_answer import final_since
from scripts.benchmarks.reach.members import Members
from scripts.benchmarks.reach.places import settle
from scripts.benchmarks.reach.plan import is_final
from scripts.benchmarks.reach.visitor import Answer, Visitor
from scripts.lab import PROFILES, LabUnavailableError, WanLab
from tests.end_to_end.conftest import PROMPTS, OneProcess

LINK = PROFILES["home-fibre"]
HOMES = "homes"
TOKENS = 40
PUNCHED_SECONDS = 40.0

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """A swarm whose servers and client stand behind usual home routers."""

    lab: WanLab
    members: Members
    visitor: Visitor
    prompt: list[int]

    def punched_answer(self) -> Answer:
        """The first answer that ends without a relay, after others if need be."""
        while True:
            answer = self.visitor.answer(self.prompt, TOKENS)
            waited = answer.at[-1] - self.visitor.started_at
            if is_final(answer.ways[-1]) or waited > PUNCHED_SECONDS:
                return answer


@pytest.fixture(scope="module")
def homes(smollm2: LayerStore, tokenizer: PreTrainedTokenizerBase) -> Iterator[Homes]:
    prompt = tokenizer(PROMPTS[0]).input_ids
    try:
        lab = WanLab(seed=1)
    except LabUnavailableError as error:
        pytest.skip(str(error))
    with lab, Members(lab, HOMES, LINK) as members:
        try:
            members.start(smollm2, "home")
        except LabUnavailableError as error:
            pytest.skip(str(error))
        host = settle(lab, "client", LINK, "home")
        with Visitor(smollm2, members.initial_peers, host.prefix, None) as visitor:
            visitor.join()
            yield Homes(lab=lab, members=members, visitor=visitor, prompt=prompt)


def test_homes_reach_each_other_without_a_flag(homes: Homes, one_process: OneProcess):
    """The text is that of one process, and soon no relay carries it."""
    answer = homes.punched_answer()

    assert answer.tokens == one_process.greedy(homes.prompt, TOKENS)
    assert answer.ways[-1] == ["punched"] * 3
    assert final_since([answer]) is not None


def test_a_router_reboots_in_mid_answer_and_the_text_is_the_same(homes: Homes, one_process: OneProcess):
    """Its mappings are lost, and it has another address; the answer goes on."""
    router = homes.lab.routers[f"{HOMES}-server-1-router"]
    before = router.public_address

    def reboot(tokens: int) -> None:
        if tokens == TOKENS // 3:
            router.reboot()

    answer = homes.visitor.answer(homes.prompt, TOKENS, meanwhile=reboot)

    assert router.public_address != before
    assert answer.tokens == one_process.greedy(homes.prompt, TOKENS)
