"""The answers to one chat completion, in chunks and as a whole. Pure.

Strict clients need exactly this: the first chunk of a choice has the role, every chunk but the choice's last
has `finish_reason: null`, the last one an empty delta, and a chunk with the usage has no choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from p2pinfer.client.texts.request import SampledToken, TextEnd, TextPart
from p2pinfer.model.grammar.tools.events import ArgumentsPiece, CallBegan, TextShown, ToolEvent
from p2pinfer.openai_api.answering.choices import Piece, Usage
from p2pinfer.openai_api.answering.heading import Heading, random_id
from p2pinfer.openai_api.answering.told_tokens import SpellsTokens, chat_logprobs
from p2pinfer.openai_api.answering.usage_form import completion_usage
from p2pinfer.openai_api.work.message_reader import MessageReader

Json = dict[str, Any]


class _Choice:
    """One answer: what is to be sent next."""

    def __init__(self, reader: MessageReader) -> None:
        self.reader = reader
        self.calls = 0
        self.has_begun = False

    def deltas(self, events: Iterable[ToolEvent]) -> Iterable[Json]:
        """What a list of events adds to the message."""
        for event in events:
            match event:
                case TextShown(text):
                    yield {"content": text}
                case CallBegan(index, name):
                    self.calls += 1
                    function = {"name": name, "arguments": ""}
                    yield {
                        "tool_calls": [
                            {
                                "index": index,
                                "id": random_id("call_"),
                                "type": "function",
                                "function": function,
                            }
                        ]
                    }
                case ArgumentsPiece(index, text):
                    yield {"tool_calls": [{"index": index, "function": {"arguments": text}}]}

    def finish_reason(self, end: TextEnd) -> str:
        """Why the answer ended, in OpenAI's words."""
        return "tool_calls" if self.calls and end.reason == "stop" else end.reason


class ChatChunks:
    """Turns pieces into chunks."""

    def __init__(
        self,
        heading: Heading,
        new_reader: Callable[[], MessageReader],
        *,
        choices: int,
        tokenizer: SpellsTokens | None,
        with_usage: bool,
    ) -> None:
        """`tokenizer` is None unless the tokens' probabilities are told."""
        self._choices = [_Choice(new_reader()) for _ in range(choices)]
        self._tokenizer = tokenizer
        self._with_usage = with_usage
        self._heading = {
            "id": heading.id,
            "object": "chat.completion.chunk",
            "created": heading.created,
            "model": heading.model,
        }

    def chunks(self, piece: Piece) -> list[Json]:
        """What a piece adds: no chunk, one, or several."""
        index, choice, content = piece.index, self._choices[piece.index], piece.content
        chunks = []
        if not choice.has_begun:
            choice.has_begun = True
            chunks.append(self._chunk(index, {"role": "assistant", "content": "", "refusal": None}))
        if isinstance(content, TextEnd):
            chunks += [self._chunk(index, delta) for delta in choice.deltas(choice.reader.finish())]
            chunks.append(self._chunk(index, {}, finish_reason=choice.finish_reason(content)))
            return chunks
        deltas = list(choice.deltas(choice.reader.feed(content.text)))
        told = self._told(content)
        if told is not None and not deltas:
            deltas = [{"content": ""}]  # the tokens are told though their text is held back
        for place, delta in enumerate(deltas):
            chunks.append(self._chunk(index, delta, logprobs=told if place == 0 else None))
        return chunks

    def usage_chunk(self, usage: Usage) -> Json:
        """The last chunk of a stream that is to have the counts of tokens."""
        return {**self._heading, "choices": [], "usage": completion_usage(usage)}

    def _told(self, part: TextPart) -> Json | None:
        if self._tokenizer is None or not part.tokens:
            return None
        return {"content": chat_logprobs(part.tokens, self._tokenizer), "refusal": None}

    def _chunk(
        self, index: int, delta: Json, *, finish_reason: str | None = None, logprobs: Json | None = None
    ) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = {**self._heading, "choices": [choice]}
        if self._with_usage:
            chunk["usage"] = None
        return chunk


class ChatWhole:
    """Collects pieces into one answer."""

    def __init__(
        self,
        heading: Heading,
        new_reader: Callable[[], MessageReader],
        *,
        choices: int,
        tokenizer: SpellsTokens | None,
    ) -> None:
        self._heading = heading
        self._messages = [_Message(new_reader()) for _ in range(choices)]
        self._tokenizer = tokenizer

    def add(self, piece: Piece) -> None:
        """Take the next piece."""
        self._messages[piece.index].add(piece.content)

    def answer(self, usage: Usage) -> Json:
        """The answer, when all choices have ended."""
        return {
            "id": self._heading.id,
            "object": "chat.completion",
            "created": self._heading.created,
            "model": self._heading.model,
            "choices": [
                message.choice(index, self._tokenizer) for index, message in enumerate(self._messages)
            ],
            "usage": completion_usage(usage),
            "service_tier": "default",
        }


class _Message:
    """One answer as a whole."""

    def __init__(self, reader: MessageReader) -> None:
        self._reader = reader
        self._texts: list[str] = []
        self._calls: list[Json] = []
        self._tokens: list[SampledToken] = []
        self._end: TextEnd | None = None

    def add(self, content: TextPart | TextEnd) -> None:
        if isinstance(content, TextEnd):
            self._end = content
            self._take(self._reader.finish())
        else:
            self._tokens += content.tokens
            self._take(self._reader.feed(content.text))

    def choice(self, index: int, tokenizer: SpellsTokens | None) -> Json:
        assert self._end is not None, "an answer is told before it has ended"
        text = "".join(self._texts)
        message: Json = {
            "role": "assistant",
            "content": text if text or not self._calls else None,
            "refusal": None,
        }
        if self._calls:
            message["tool_calls"] = self._calls
        told = None
        if tokenizer is not None:
            told = {"content": chat_logprobs(self._tokens, tokenizer), "refusal": None}
        reason = "tool_calls" if self._calls and self._end.reason == "stop" else self._end.reason
        return {"index": index, "message": message, "logprobs": told, "finish_reason": reason}

    def _take(self, events: Iterable[ToolEvent]) -> None:
        for event in events:
            match event:
                case TextShown(text):
                    self._texts.append(text)
                case CallBegan(_, name):
                    function = {"name": name, "arguments": ""}
                    self._calls.append({"id": random_id("call_"), "type": "function", "function": function})
                case ArgumentsPiece(index, text):
                    self._calls[index]["function"]["arguments"] += text
