"""Which model this server serves, and where its description comes from: this machine, the swarm, or the source.

A model on this machine is taken as it is. A name is looked for in the swarm first: then the manifest comes
from other servers, and later the files of the layers. What the swarm doesn't serve is converted here.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from p2pinfer.errors import SwarmError, UsageError
from p2pinfer.model.formats.lookup import is_path
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.life.model_loading import open_store
from p2pinfer.sharing.library import Library
from p2pinfer.sharing.naming.model_ref import ModelRef
from p2pinfer.threads import in_thread


@dataclass(slots=True)
class ChosenModel:
    """What was chosen in an earlier serving period: the owner isn't asked again."""

    ref: ModelRef | None = None


class ModelChoice:
    """Opens the model of one serving period. For the event loop."""

    def __init__(self, config: ServerConfig, chosen: ChosenModel, say: Callable[[str], None]) -> None:
        self._config = config
        self._chosen = chosen
        self._say = say

    @property
    def is_local(self) -> bool:
        """True if the owner names a file or folder: it can be opened before the swarm is joined."""
        return self._config.model is not None and is_path(self._config.model)

    async def open(self, library: Library, opening: Awaitable[LayerStore] | None) -> LayerStore:
        """The store, of which files may be missing. `opening` opens a local model.

        Raises P2PInferError if there is no such model, or none that could be chosen.
        """
        if opening is not None:
            return await opening
        if not self._config.initial_peers:
            return await self._converted()
        ref = self._chosen.ref
        if ref is None and self._config.model is not None:
            ref = ModelRef.parse(self._config.model)
        if ref is not None:
            found = await library.find(ref)
            if found is None and ref.digest_prefix:
                raise UsageError(
                    f"the swarm serves no model {ref}: see what it serves with "
                    "`python -m p2pinfer.health --once --initial-peers ...`"
                )
        else:
            found = await library.most_needed(partial(_asked, self._say) if _can_ask() else None)
            if found is None:
                raise SwarmError("this swarm serves no model yet: name one to begin with")
        if found is None:
            return await self._converted()
        store = await library.open(found)
        self._chosen.ref = ModelRef.parse(store.manifest.hash)
        return store

    async def _converted(self) -> LayerStore:
        assert self._config.model is not None
        return await open_store(self._config, self._config.model, self._say)


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


async def _asked(say: Callable[[str], None], question: str) -> str:
    """What the person at the terminal answers. Raises UsageError if there is no answer."""
    say(question)
    try:
        return await in_thread(sys.stdin.readline, name="p2pinfer-question")
    except asyncio.CancelledError:
        raise
    except OSError as error:
        raise UsageError("no answer can be read: name a MODEL") from error
