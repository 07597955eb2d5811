"""Opens the models of a gateway: those that were named, or what the swarm serves as a whole."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from p2pinfer.client.network import join_through
from p2pinfer.client.texts.text_model import TextModel
from p2pinfer.command_line.output import say
from p2pinfer.errors import P2PInferError
from p2pinfer.gateway.config import MOST_MODELS, GatewayConfig
from p2pinfer.gateway.serving.whole_models import whole_models
from p2pinfer.identity import Identity
from p2pinfer.model.grammar.vocabulary import Vocabulary
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.openai_api.work.served_model import ServedModel
from p2pinfer.plain_text import printable
from p2pinfer.swarm.membership.kept_peers import FILE_NAME, KeptPeers
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.tasks import all_of

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 15.0
"""Between two looks at the swarm while there is no model."""
_LOOK_AGAIN_SECONDS = 600.0
"""Between two looks for more models: each joins the swarm anew."""
_MOST_LISTED = 256
"""Anybody can list models, and each costs a look-up."""
_JOIN_SECONDS = 20.0
_HASH_CHARACTERS = 8


class Opener:
    """Opens models and closes them with its block."""

    def __init__(self, config: GatewayConfig, models: Models) -> None:
        self._config = config
        self._models = models
        self._stack = AsyncExitStack()
        self._hashes: set[str] = set()
        self._failed: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def open_named(self) -> None:
        """Open the models of the command line. Raises UsageError, ModelError and SwarmError."""
        for model in self._config.models:
            await self._open(model)

    async def look_forever(self) -> None:
        """Look for whole models now and then if none is named. Runs until cancelled."""
        while not self._config.models and len(self._models.list()) < MOST_MODELS:
            try:
                await self._look()
            except P2PInferError as error:
                logger.warning("the swarm can't be read: %s", error)
            if not self._models.list():
                logger.info("the swarm serves no whole model yet; looking again in %.0f s", _LOOK_SECONDS)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS if self._models.list() else _LOOK_SECONDS)
        await asyncio.Event().wait()

    async def _look(self) -> None:
        for listing in await self._whole_models():
            if listing.model in self._hashes or len(self._models.list()) >= MOST_MODELS:
                continue
            try:
                await self._open(listing.model)
            except P2PInferError as error:
                if listing.model not in self._failed:  # it is tried again, but said once
                    self._failed.add(listing.model)
                    name = printable(listing.model_name, 100)
                    logger.warning("%s can't be opened: %s", name, error)

    async def _whole_models(self) -> list[ModelListing]:
        known = KeptPeers(self._config.cache_folder / FILE_NAME)
        join = join_through(self._config.initial_peers, seconds=_JOIN_SECONDS, kept_peers=known)
        async with join(Identity.ephemeral()) as swarm:
            listings = (await swarm.models())[:_MOST_LISTED]
            servers = await all_of(*(swarm.servers(listing.model) for listing in listings))
        return whole_models(list(zip(listings, servers, strict=True)))

    async def _open(self, model: str) -> None:
        text = await self._stack.enter_async_context(
            await TextModel.open(
                model,
                initial_peers=self._config.initial_peers,
                cache_folder=self._config.cache_folder,
                join_timeout_seconds=_JOIN_SECONDS,
                progress=say,
            )
        )
        if text.manifest.hash in self._hashes:
            return
        self._hashes.add(text.manifest.hash)
        vocabulary = Vocabulary.of_store(text.store, end_tokens=text.tokenizer.end_tokens)
        served = ServedModel(
            text, model_id=self._free_id(text), created=int(time.time()), vocabulary=vocabulary
        )
        self._models.add(served)
        say(f"serving {printable(served.id, 100)}")

    def _free_id(self, text: TextModel) -> str:
        """The model's name, or NAME@HASH if another one has it."""
        taken = {model.id for model in self._models.list()}
        return text.name if text.name not in taken else f"{text.name}@{text.manifest.hash[:_HASH_CHARACTERS]}"
