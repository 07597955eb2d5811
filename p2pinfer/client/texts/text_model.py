"""A model whose layers are in a swarm, for texts: without torch, transformers or a thread for each text."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from p2pinfer.client.arguments.lengths import too_long
from p2pinfer.client.batching.background_room import BackgroundRoom
from p2pinfer.client.batching.row_job import RowJob
from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.patience import Patience
from p2pinfer.client.prefixes.scope import Scope
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.client.route.aim import Aim
from p2pinfer.client.texts.embedder import Embedder
from p2pinfer.client.texts.request import TextRequest
from p2pinfer.client.texts.text import Growing, Text
from p2pinfer.errors import ModelError, UsageError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.memory import return_memory
from p2pinfer.model.sampling.text_state import TextState
from p2pinfer.model.text.chat_template import ChatTemplate
from p2pinfer.model.text.quoting import rendered_parts
from p2pinfer.model.text.tokenizer import Tokenizer
from p2pinfer.threads import in_thread


class TextModel:
    """Answers prompts, many at a time, in one event loop. Use it in an `async with` block, or close it.

    async with await TextModel.open(name, initial_peers=[address]) as model:
        request = TextRequest(prompt=model.tokenizer.encode("The capital of France is"), max_tokens=8)
        async with model.generate(request) as text:
            async for part in text:
                print(part.text, end="", flush=True)
    """

    def __init__(self, remote: RemoteModel, limits: PoolLimits) -> None:
        """Take over `remote`: closing this model closes it. Raises ModelError for a broken tokenizer."""
        self.tokenizer = Tokenizer.load(remote.store.folder)
        self.chat_template = _chat_template(remote)
        """None where the model has none, or one that can't be read."""
        self._remote = remote
        self._embedder = Embedder(remote)
        self._loop = asyncio.get_running_loop()
        self._pool = remote.pool(self._loop, limits)

    @classmethod
    async def open(
        cls,
        model: str | os.PathLike[str],
        *,
        initial_peers: str | Sequence[str],
        cache_folder: str | os.PathLike[str] | None = None,
        patience: Patience | None = None,
        join_timeout_seconds: float = 20.0,
        wire_dtype: str = "float32",
        aim: Aim = Aim.LATENCY,
        identity: str | os.PathLike[str] | None = None,
        limits: PoolLimits | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Join the swarm and open a model, as RemoteModel.open does; raises what that raises."""
        remote = await in_thread(
            partial(
                RemoteModel.open,
                model,
                initial_peers=initial_peers,
                cache_folder=cache_folder,
                patience=patience,
                join_timeout_seconds=join_timeout_seconds,
                wire_dtype=wire_dtype,
                aim=aim,
                identity=identity,
                progress=progress,
            )
        )
        try:
            opened = cls(remote, limits or PoolLimits())
            await in_thread(return_memory)  # what reading the files has taken: 14 MB of a small model's
            return opened
        except BaseException:
            await in_thread(remote.close)
            raise

    @property
    def name(self) -> str:
        """The model's name, as the swarm lists it."""
        return self.manifest.name

    @property
    def manifest(self) -> Manifest:
        """The model's manifest: servers must have the same one."""
        return self._remote.manifest

    @property
    def store(self) -> LayerStore:
        """The model's files on this machine."""
        return self._remote.store

    @property
    def context_tokens(self) -> int:
        """The most tokens of a text, prompt and answer together."""
        return self.manifest.max_positions

    @property
    def num_layers(self) -> int:
        """Each token goes through so many."""
        return self.manifest.num_layers

    @property
    def waiting(self) -> int:
        """Texts that wait until others end."""
        return self._pool.waiting

    @property
    def running(self) -> int:
        """Texts that are being made."""
        return self._pool.running

    def generate(self, request: TextRequest) -> Text:
        """Begin an answer, at the latest when others have ended.

        Raises UsageError for what can't be asked, PromptTooLongError if the prompt leaves no room for an
        answer, and what the request's constraint raises.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError(
                "a model answers in the event loop that opened it: open another one for this loop"
            )
        prompt = list(request.prompt)
        if not prompt:
            raise UsageError("the prompt has no tokens: give it at least one")
        self._remote.ends.check(prompt)
        if len(prompt) > self.context_tokens:
            raise too_long(len(prompt), limit=self.context_tokens, model=self.name)
        room = self.context_tokens + 1 - len(prompt)  # the last token needs no room itself
        if request.max_tokens is not None and request.max_tokens < 1:
            raise UsageError(f"max_tokens={request.max_tokens}: an answer has at least one token")
        growing = Growing(
            TextState(
                prompt=prompt,
                sampling=request.sampling,
                tokenizer=self.tokenizer,
                end_tokens=(
                    self.tokenizer.end_tokens if request.stop_tokens is None else request.stop_tokens
                ),
                max_tokens=room if request.max_tokens is None else min(room, request.max_tokens),
                vocab_size=self._remote.ends.vocab_size,
                stop=request.stop,
                show_special=request.show_special,
                constraint=None if request.constraint is None else request.constraint(),
            )
        )
        news = asyncio.Event()
        job = RowJob(
            prompt=prompt,
            continuation=growing,
            on_news=news.set,
            most_new_tokens=request.max_tokens,
            is_background=request.is_background,
            scope=(
                Scope(request.cache_scope)
                if request.cache_salt is None
                else Scope(request.cache_salt, is_shared=True)
            ),
            shared_prefix_tokens=request.shared_prefix_tokens,
        )
        self._pool.submit(job)
        return Text(self._pool, job, growing, news)

    def chat_tokens(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The prompt for a chat, by the model's own template. Raises UsageError if it has none.

        Special tokens that messages spell are only texts.
        Raises ModelError and UsageError as `ChatTemplate.render`.
        """
        if self.chat_template is None:
            raise UsageError(f"{self.name} has no chat template: give it a text, or token ids")
        parts = rendered_parts(self.chat_template, self.tokenizer.special_texts, messages, tools)
        return [token for part in parts for token in self.tokenizer.encode(part, add_special_tokens=False)]

    async def embed(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return one vector for each prompt, [prompts, hidden_size]. Raises as `Embedder.embed`."""
        return await self._embedder.embed(prompts)

    @property
    def background_room(self) -> BackgroundRoom:
        """To be acquired before each of many requests in the background: it says how many are wanted."""
        return self._pool.background_room

    def end_texts(self) -> None:
        """End all texts, with a UsageError, and take no more."""
        self._pool.close()

    async def close(self) -> None:
        """End all texts, with a UsageError, and leave the swarm. Closing twice is harmless."""
        self.end_texts()
        await in_thread(self._remote.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _chat_template(remote: RemoteModel) -> ChatTemplate | None:
    try:
        return ChatTemplate.load(remote.store.folder)
    except ModelError:
        return None
