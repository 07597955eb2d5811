"""Opens the model of a job, for many texts at once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.route.aim import Aim
from p2pinfer.client.texts.text_model import TextModel
from p2pinfer.command_line.output import say
from p2pinfer.documents.answering.asking import Asker
from p2pinfer.documents.program.config import RunConfig
from p2pinfer.identity import Identity
from p2pinfer.model.grammar.vocabulary import Vocabulary
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.openai_api.work.served_model import ServedModel
from p2pinfer.types import PeerId

_LIMITS = PoolLimits(sessions=16, rows=16, session_tokens=20_480)
"""As many texts as three servers of a small model have room for, and more than most swarms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """A model in the swarm, and who pays for what it computes."""

    text: TextModel
    asker: Asker
    payer: PeerId


@asynccontextmanager
async def opened_model(config: RunConfig) -> AsyncIterator[OpenedModel]:
    """Join the swarm, and open the model. Raises UsageError, ModelError and SwarmError.

    Requests know it by its name in the swarm, and as the command line names it.
    """
    payer = Identity.load_or_create(config.identity).peer_id
    text = await TextModel.open(
        config.model,
        initial_peers=config.initial_peers,
        cache_folder=config.cache_folder,
        wire_dtype=config.wire_dtype,
        aim=Aim.THROUGHPUT,
        identity=config.identity,
        limits=_LIMITS,
        progress=say,
    )
    async with text:
        vocabulary = Vocabulary.of_store(text.store, end_tokens=text.tokenizer.end_tokens)
        models = Models(
            ServedModel(text, model_id=name, created=int(time.time()), vocabulary=vocabulary)
            for name in {text.name, config.model}
        )
        yield OpenedModel(text=text, asker=Asker(models), payer=payer)
