"""How to join the swarm, as commands to copy. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import HealthState

_MOST_ADDRESSES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPart:
    """The commands for an owner, a server and a client."""

    server: str
    client: str
    owner: str


def join_part(state: HealthState) -> JoinPart:
    """MODEL stays a word to replace: strangers choose the names of models, so names stay out of commands."""
    addresses = [words.plain(address, 400) for address in state.join_addresses[:_MOST_ADDRESSES]]
    shell = " ".join(map(shlex.quote, addresses)) or "ADDRESS"
    listed = ", ".join(map(repr, addresses or ["ADDRESS"]))
    return JoinPart(
        owner="python -m p2pinfer.owner init --for home",
        server=f"python -m p2pinfer.server MODEL --initial-peers {shell}",
        client=(
            "from p2pinfer import AutoDistributedModelForCausalLM\n\n"
            "model = AutoDistributedModelForCausalLM.from_pretrained(\n"
            f'    "MODEL", initial_peers=[{listed}]\n'
            ")"
        ),
    )
