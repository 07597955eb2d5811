"""The answer to one response, as events and as a whole. Pure.

Each part of the output is announced (`added`), written (`delta`), and repeated as a whole (`done`); the last
event has the whole answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from p2pinfer.client.texts.request import TextEnd, TextPart
from p2pinfer.model.grammar.tools.events import ArgumentsPiece, CallBegan, TextShown, ToolEvent
from p2pinfer.openai_api.answering.choices import Piece, Usage
from p2pinfer.openai_api.answering.heading import Heading, random_id
from p2pinfer.openai_api.answering.response_form import response_form
from p2pinfer.openai_api.answering.told_tokens import SpellsTokens, chat_logprobs
from p2pinfer.openai_api.answering.usage_form import response_usage
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.shapes.responses import ResponseRequest
from p2pinfer.openai_api.work.message_reader import MessageReader

Json = dict[str, Any]


class ResponseAnswer:
    """The state of one answer. The events may be sent, or left alone if only the whole is wanted."""

    def __init__(
        self,
        heading: Heading,
        request: ResponseRequest,
        reader: MessageReader,
        *,
        tokenizer: SpellsTokens | None,
    ) -> None:
        """`tokenizer` is None unless the tokens' probabilities are told."""
        self._heading = heading
        self._request = request
        self._reader = reader
        self._tokenizer = tokenizer
        self._output: list[Json] = []
        self._is_open = False  # the last item of the output goes on
        self._untold: list[Json] = []  # probabilities of tokens whose text is held back
        self._numbers = 0

    def begin(self) -> list[Json]:
        """The events before the first piece."""
        form = self._form("in_progress")
        return [
            self._event("response.created", response=form),
            self._event("response.in_progress", response=form),
        ]

    def take(self, piece: Piece) -> list[Json]:
        """The events of a piece; at the end of the text those that end the last item."""
        if isinstance(piece.content, TextPart):
            if self._tokenizer is not None:
                self._untold += chat_logprobs(piece.content.tokens, self._tokenizer)
            return list(self._events(self._reader.feed(piece.content.text)))
        events = [*self._events(self._reader.finish())]
        if not self._output:
            events += self._begin_message()  # an empty answer is a message without text
        return [*events, *self._close(is_whole=piece.content.reason == "stop")]

    def end(self, end: TextEnd, usage: Usage) -> Json:
        """The last event."""
        is_whole = end.reason == "stop"
        kind = "response.completed" if is_whole else "response.incomplete"
        return self._event(kind, response=self.answer(end, usage))

    def failed(self, error: ApiError) -> Json:
        """The event for an error in the middle of a stream."""
        return self._event(
            "error", message=error.message, code=error.code, param=error.param, error=error.body()["error"]
        )

    def answer(self, end: TextEnd, usage: Usage) -> Json:
        """The whole answer."""
        is_whole = end.reason == "stop"
        return {
            **self._form("completed" if is_whole else "incomplete"),
            "completed_at": int(time.time()) if is_whole else None,
            "incomplete_details": None if is_whole else {"reason": "max_output_tokens"},
            "output": self._output,
            "usage": response_usage(usage),
        }

    def _events(self, read: list[ToolEvent]) -> Iterator[Json]:
        for event in read:
            match event:
                case TextShown(text):
                    if not self._has_open("message"):
                        yield from self._close(is_whole=True)
                        yield from self._begin_message()
                    part = self._output[-1]["content"][0]
                    part["text"] += text
                    part["logprobs"] += self._untold
                    yield self._event(
                        "response.output_text.delta",
                        **self._place(),
                        content_index=0,
                        delta=text,
                        logprobs=self._untold,
                    )
                    self._untold = []
                case CallBegan(_, name):
                    yield from self._close(is_whole=True)
                    yield from self._open(
                        {
                            "type": "function_call",
                            "id": random_id("fc_"),
                            "call_id": random_id("call_"),
                            "name": name,
                            "arguments": "",
                            "status": "in_progress",
                        }
                    )
                case ArgumentsPiece(_, text):
                    self._output[-1]["arguments"] += text
                    yield self._event("response.function_call_arguments.delta", **self._place(), delta=text)

    def _begin_message(self) -> Iterator[Json]:
        item: Json = {
            "type": "message",
            "id": random_id("msg_"),
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        yield from self._open(item)
        part: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield self._event(
            "response.content_part.added",
            **self._place(),
            content_index=0,
            part={**part, "logprobs": []},
        )
        item["content"] = [part]

    def _open(self, item: Json) -> Iterator[Json]:
        self._output.append(item)
        self._is_open = True
        yield self._event("response.output_item.added", output_index=len(self._output) - 1, item=dict(item))

    def _close(self, *, is_whole: bool) -> Iterator[Json]:
        """The events that end the last item, if it goes on."""
        if not self._is_open:
            return
        self._is_open = False
        item = self._output[-1]
        item["status"] = "completed" if is_whole else "incomplete"
        if item["type"] == "message":
            part = item["content"][0]
            part["logprobs"] += self._untold
            self._untold = []
            place = {**self._place(), "content_index": 0}
            yield self._event(
                "response.output_text.done", **place, text=part["text"], logprobs=part["logprobs"]
            )
            yield self._event("response.content_part.done", **place, part=part)
        else:
            yield self._event(
                "response.function_call_arguments.done",
                **self._place(),
                name=item["name"],
                arguments=item["arguments"],
            )
        yield self._event("response.output_item.done", output_index=len(self._output) - 1, item=item)

    def _has_open(self, kind: str) -> bool:
        return self._is_open and self._output[-1]["type"] == kind

    def _place(self) -> Json:
        return {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}

    def _form(self, status: str) -> Json:
        return response_form(self._heading, self._request, status)

    def _event(self, kind: str, **fields: Any) -> Json:
        event = {"type": kind, "sequence_number": self._numbers, **fields}
        self._numbers += 1
        return event
