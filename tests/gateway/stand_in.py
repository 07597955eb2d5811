"""A model without a swarm: it answers as a test tells it to, with a real tokenizer of bytes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from p2pinfer.client.texts.request import (
    Alternative,
    RouteEvent,
    RouteHop,
    RouteView,
    SampledToken,
    TextEnd,
    TextPart,
    TextRequest,
)
from p2pinfer.errors import PromptTooLongError, UsageError
from p2pinfer.model.grammar.vocabulary import Vocabulary
from p2pinfer.openai_api.work.served_model import ServedModel
from p2pinfer.types import PeerId, Span, Way

SPECIAL = ("<|im_start|>", "<|im_end|>")
FIRST, SPARE = PeerId("12D3KooWFirst"), PeerId("12D3KooWSpare")
CONTEXT_TOKENS = 4_096
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if tools %}<tool_call> name arguments {% endif %}<|im_start|>assistant\n"
)


def byte_tokenizer() -> Backend:
    """One token for each byte, and two special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Backend(models.BPE(vocab={sign: token for token, sign in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIAL])
    return backend


class StandInTokenizer:
    """The tokenizer as the gateway asks it."""

    def __init__(self) -> None:
        self.backend = byte_tokenizer()
        self.end = self.backend.token_to_id("<|im_end|>")
        self.special_texts = frozenset(SPECIAL)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Its bytes, with special tokens where the text has them."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError("the text has half a character") from error
        return list(self.backend.encode(text, add_special_tokens=add_special_tokens).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        return str(self.backend.decode(list(ids), skip_special_tokens=False))

    def token_bytes(self, token: int) -> bytes:
        """The byte of a token."""
        text = self.backend.id_to_token(token)
        return text.encode() if text in SPECIAL else bytes([_byte_of(text)])


def _byte_of(sign: str) -> int:
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return ord(sign) if ord(sign) in visible else hidden[ord(sign) - 256]


class StandInTemplate:
    """A template in the manner of ChatML."""

    def __init__(self, text: str = TEMPLATE) -> None:
        self.text = text
        self.rendered: list[Sequence[dict[str, Any]]] = []
        self.tools: list[Sequence[dict[str, Any]] | None] = []

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The messages between marks. Refuses an empty conversation of tools, as some templates do."""
        self.rendered.append(messages)
        self.tools.append(tools)
        if messages[0]["role"] == "tool":
            raise UsageError("the model's chat template refuses the messages: a tool comes first")
        return "".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in messages)


class StandInModel:
    """A model that writes what `answer` says. Its texts go on only while `going` is set."""

    def __init__(self, answer: Callable[[TextRequest], str] | str = "Hello there.") -> None:
        self.name = "tiny"
        self.tokenizer = StandInTokenizer()
        self.chat_template: StandInTemplate | None = StandInTemplate()
        self.context_tokens = CONTEXT_TOKENS
        self.num_layers = 4
        self.background_room = asyncio.Semaphore(16)
        self.requests: list[TextRequest] = []
        self.open_texts: set[StandInText] = set()
        self.going = asyncio.Event()
        self.going.set()
        self.fail_after: tuple[int, Exception] | None = None
        """After so many tokens a text raises this."""
        self.pause_after: int | None = None
        """After so many tokens a text goes on no more."""
        self.refuse: Exception | None = None
        self.width: int | None = None
        """Of vectors; None: it makes none."""
        self._answer = answer

    def generate(self, request: TextRequest) -> StandInText:
        """Begin an answer."""
        if self.refuse is not None:
            raise self.refuse
        if not request.prompt:
            raise UsageError("the prompt has no tokens: give it at least one")
        if len(request.prompt) > self.context_tokens:
            raise PromptTooLongError(
                f"{len(request.prompt)} tokens: tiny takes at most {self.context_tokens}"
            )
        self.requests.append(request)
        answer = self._answer if isinstance(self._answer, str) else self._answer(request)
        return StandInText(self, request, answer)

    async def embed(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The first ids of each prompt."""
        if self.width is None:
            raise UsageError("tiny isn't made for embeddings")
        rows = [[*prompt, *[0] * self.width][: self.width] for prompt in prompts]
        return np.array(rows, np.float32)


class StandInText:
    """One answer. A part has one token, and no text in the middle of a character."""

    def __init__(self, model: StandInModel, request: TextRequest, answer: str) -> None:
        self.end: TextEnd | None = None
        self.cached_tokens = 3
        self.events: tuple[RouteEvent, ...] = ()
        self._model = model
        self._request = request
        self.made = 0
        """Tokens so far."""
        self._held = b""
        tokens = model.tokenizer.encode(answer, add_special_tokens=False)
        if request.constraint is not None:
            tokens = self._constrained(tokens)
        self._stop: str | None = None
        text = model.tokenizer.decode(tokens)
        for stop in request.stop:
            if stop in text:
                text, self._stop = text[: text.index(stop)], stop
                tokens = model.tokenizer.encode(text, add_special_tokens=False)
        most = request.max_tokens if request.max_tokens is not None else len(tokens)
        self._is_cut = len(tokens) > most
        self._tokens = tokens[:most]

    def route(self) -> RouteView:
        """One hop, and what has happened."""
        hop = RouteHop(
            peer_id=FIRST, layers=Span(0, 4), ms_per_token=1.5 if self.made else None, way=Way.PUNCHED
        )
        return RouteView(hops=(hop,), events=self.events)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TextPart:
        await self._model.going.wait()
        await asyncio.sleep(0)
        if self._model.pause_after == self.made:
            await asyncio.Event().wait()
        if self._model.fail_after is not None and self.made >= self._model.fail_after[0]:
            raise self._model.fail_after[1]
        if self.made == len(self._tokens):
            if self.end is None:
                self.end = TextEnd(
                    reason="length" if self._is_cut else "stop",
                    stop=self._stop,
                    prompt_tokens=len(self._request.prompt),
                    cached_tokens=self.cached_tokens,
                    completion_tokens=self.made,
                )
            raise StopAsyncIteration
        token = self._tokens[self.made]
        self.made += 1
        self._held += self._model.tokenizer.token_bytes(token)
        try:
            text, self._held = self._held.decode(), b""
        except UnicodeDecodeError:
            text = ""
        return TextPart(text=text, tokens=(self._sampled(token),))

    async def __aenter__(self) -> Self:
        self._model.open_texts.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.open_texts.discard(self)

    def _sampled(self, token: int) -> SampledToken:
        wanted = self._request.sampling.logprobs
        if wanted is None:
            return SampledToken(token=token, logprob=None)
        likely = (Alternative(token=token, logprob=-0.5), Alternative(token=0, logprob=-math.inf))
        return SampledToken(token=token, logprob=-0.5, top=likely[:wanted])

    def _constrained(self, wanted: list[int]) -> list[int]:
        """The wanted tokens as far as the grammar allows them, then the first ones that it does."""
        assert self._request.constraint is not None
        state, tokens = self._request.constraint(), []
        while not state.is_done and len(tokens) < 400:
            allowed = state.allowed()
            place = len(tokens)
            if place < len(wanted) and (allowed is None or allowed[wanted[place]]):
                token = wanted[place]
            else:
                assert allowed is not None
                token = (
                    self._model.tokenizer.end if allowed[self._model.tokenizer.end] else int(allowed.argmax())
                )
            state.accept(token)
            if token == self._model.tokenizer.end:
                break
            tokens.append(token)
        return tokens


def serve(model: StandInModel, *, model_id: str = "tiny") -> ServedModel:
    """The model as a gateway has it."""
    tokenizer = model.tokenizer
    vocabulary = Vocabulary(
        tokenizer.backend.to_str, size=tokenizer.backend.get_vocab_size(), end_tokens=[tokenizer.end]
    )
    return ServedModel(model, model_id=model_id, created=1_700_000_000, vocabulary=vocabulary)
