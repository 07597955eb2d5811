"""Which model this server serves, and where its description comes from.

A model on this machine is taken as it is. A name is looked for in the swarm first: then the manifest comes
from other servers, and later the files of the layers. What the swarm doesn't serve is converted here.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from p2pinfer.errors import ModelError, SwarmError, UsageError
from p2pinfer.model.formats.lookup import is_local
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.owner.consent import ask
from p2pinfer.plain_text import printable
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.life.model_loading import open_store
from p2pinfer.sharing.library import Library
from p2pinfer.sharing.naming.model_ref import ModelRef
from p2pinfer.sharing.naming.needed import Candidate
from p2pinfer.sharing.naming.question import question, read_answer
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.threads import in_thread

_MOST_QUESTIONS = 3


@dataclass(slots=True)
class ChosenModel:
    """What was chosen in an earlier serving period: the owner isn't asked again."""

    listing: ModelListing | None = None


class ModelChoice:
    """Opens the model of one serving period. For the event loop."""

    def __init__(self, config: ServerConfig, chosen: ChosenModel, say: Callable[[str], None]) -> None:
        self._config = config
        self._chosen = chosen
        self._say = say

    @property
    def local(self) -> str | None:
        """The file or folder that the owner names: it can be opened before the swarm is joined."""
        model = self._config.model
        return model if model is not None and is_local(model) else None

    async def open(self, library: Library, opening: Awaitable[LayerStore] | None) -> LayerStore:
        """The store, of which files may be missing. `opening` opens a local model.

        Raises P2PInferError if there is no such model, or none that could be chosen.
        """
        if opening is not None:
            return await opening
        if self._chosen.listing is None and self._config.initial_peers:
            self._chosen.listing = await self._found(library)
        if self._chosen.listing is not None:
            return await library.open(self._chosen.listing)
        assert self._config.model is not None
        try:
            return await open_store(self._config, self._config.model, self._say)
        except ModelError as error:
            if not self._config.initial_peers:
                raise
            words = await library.no_such_model(ModelRef.parse(self._config.model))
            raise ModelError(f"{error}; {words}") from error

    async def _found(self, library: Library) -> ModelListing | None:
        """The model of the swarm; None if the swarm doesn't serve the one that the owner names."""
        if self._config.model is None:
            return await self._most_needed(library)
        ref = ModelRef.parse(self._config.model)
        found = await library.find(ref)
        if found is None and ref.hash_prefix is not None:
            raise UsageError(await library.no_such_model(ref))
        return found

    async def _most_needed(self, library: Library) -> ModelListing:
        ranked = await library.ranked()
        if not ranked:
            raise SwarmError(
                "this swarm serves no model yet. If its first server is still getting ready, try again when "
                "that one says `ready`; or name a model to serve: python -m p2pinfer.server MODEL "
                "--initial-peers ..."
            )
        if len(ranked) == 1:
            return ranked[0].listing
        if not _can_ask():
            first = ranked[0].listing
            self._say(
                f"of {len(ranked):,} models of this swarm {printable(first.model_name)} needs servers most. "
                "To serve another one, name it: NAME or NAME@HASH"
            )
            return first
        return await self._asked(ranked)

    async def _asked(self, ranked: Sequence[Candidate]) -> ModelListing:
        for _ in range(_MOST_QUESTIONS):
            answer = await in_thread(partial(ask, question(ranked)), name="p2pinfer-question")
            if answer is None:
                break
            if (found := read_answer(answer, ranked)) is not None:
                return found.listing
            self._say("that is none of these")
        raise UsageError("no model was chosen: give its number, or name it: NAME or NAME@HASH")


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
