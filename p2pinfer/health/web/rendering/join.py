"""How to join the swarm, as commands to copy. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import Answer, HealthState, ModelView
from p2pinfer.health.snapshot.wanted import wanted_layers

_MOST_ADDRESSES = 4
_PLACEHOLDER = "MODEL"
_HASH_DIGITS = 16
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")

_INSTALL = """\
python3 -m venv p2pinfer-env
. p2pinfer-env/bin/activate
pip install 'p2pinfer[server]'"""

_SERVE = """\
python -m p2pinfer.owner init --for home
python -m p2pinfer.server {model} --initial-peers {addresses}"""

_GENERATE = """\
from p2pinfer import AutoDistributedModelForCausalLM

model = AutoDistributedModelForCausalLM.from_pretrained(
    {model}, initial_peers=[{addresses}]
)
ids = model.tokenizer("The capital of France is", return_tensors="pt").input_ids
print(model.tokenizer.decode(model.generate(ids, max_new_tokens=16)[0]))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPart:
    """The commands, and what a reader has to know about the model in them."""

    install: str
    serve: str
    generate: str
    model: str  # in the commands
    is_complete: bool  # False: the reader has to replace MODEL
    name: str  # of the model as its servers call it; empty: no model is served
    short_hash: str  # of that model's manifest
    wanted: str  # which of its layers need help most


def join_part(state: HealthState) -> JoinPart:
    """The commands for the model that the operator names, or else for one that the swarm serves.

    Strangers choose the names of models. One goes into a command only if it has no character that a shell or
    Python takes for more than a letter; else the hash stands for the model. Beside the name is the hash, or
    the command would mean another model as soon as somebody lists a second one of that name.
    """
    addresses = [words.plain(address, 400) for address in state.join_addresses[:_MOST_ADDRESSES]]
    named = words.plain(state.join_model, 300)
    chosen = _model_named(named, state.models) if named else _example(state.models)
    source = named or _reference(chosen)
    model = source or _PLACEHOLDER
    return JoinPart(
        install=_INSTALL,
        serve=_SERVE.format(
            model=shlex.quote(model), addresses=" ".join(map(shlex.quote, addresses)) or "ADDRESS"
        ),
        generate=_GENERATE.format(
            model=_quoted(model), addresses=", ".join(map(_quoted, addresses or ["ADDRESS"]))
        ),
        model=model,
        is_complete=bool(source and addresses),
        name=words.model_name(chosen) if chosen else "",
        short_hash=words.plain(chosen.model, 12) if chosen else "",
        wanted=wanted_layers(chosen) if chosen and state.fresh else "",
    )


def _quoted(text: str) -> str:
    """A string of Python. JSON's are the same for a text without control characters."""
    return json.dumps(text, ensure_ascii=False)


def _model_named(source: str, models: Sequence[ModelView]) -> ModelView | None:
    """The model that servers list under the operator's name for it; or the only one."""
    same = [model for model in models if model.name and source.endswith(model.name)]
    return next(iter(same or (models if len(models) == 1 else ())), None)


def _example(models: Sequence[ModelView]) -> ModelView | None:
    """The first model that works; without one, the first."""
    return min(models, key=lambda model: model.answer is Answer.NO, default=None)


def _reference(model: ModelView | None) -> str:
    """What servers and clients take for this model and no other: `NAME@HASH`, or the whole hash."""
    if model is None:
        return ""
    if _PLAIN_NAME.fullmatch(model.name) and not model.name.endswith(".gguf"):
        return f"{model.name}@{model.model[:_HASH_DIGITS]}"
    return model.model
