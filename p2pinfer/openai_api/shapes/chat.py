"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from p2pinfer.openai_api.errors import refused_field
from p2pinfer.openai_api.shapes.base import Whole, YesNo
from p2pinfer.openai_api.shapes.formats import JsonObject, JsonSchema, TextFormat
from p2pinfer.openai_api.shapes.messages import MOST_MESSAGES, Message
from p2pinfer.openai_api.shapes.sampling import NO_EFFECT, STATELESS, TextFields
from p2pinfer.openai_api.shapes.tools import MOST_TOOLS, NamedTool, Tool, ToolChoice

ChatFormat = TextFormat | JsonObject | JsonSchema


class ChatRequest(TextFields):
    """A conversation to go on with."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = NO_EFFECT | {"prediction"}
    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = {
        "audio": ((), "models here write text only"),
        "function_call": (("none",), "use 'tools' and 'tool_choice'"),
        "functions": (([],), "use 'tools'"),
        "modalities": ((["text"],), "models here write text only"),
        "moderation": ((), "the gateway judges no texts"),
        "reasoning_effort": ((), "no model here has such a setting"),
        "store": ((False,), STATELESS),
        "verbosity": (("medium",), "no model here has such a setting"),
        "web_search_options": ((), "the gateway searches nothing: give the model a tool"),
    }

    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)

    max_completion_tokens: Whole | None = Field(None, ge=1)
    """The answer ends after so many tokens."""

    max_tokens: Whole | None = Field(None, ge=1)
    """The older name of max_completion_tokens."""

    logprobs: YesNo = False
    """Tell the probability of each token."""

    top_logprobs: Whole = Field(0, ge=0, le=20)
    """Tell so many likely tokens at each place, too; needs logprobs."""

    response_format: ChatFormat = Field(TextFormat(type="text"), discriminator="type")
    """The form of the answer. JSON always fits the schema."""

    tools: list[Tool] = Field(default_factory=list, max_length=MOST_TOOLS)
    """Functions that the model may call."""

    tool_choice: ToolChoice | None = None
    """Whether it has to, and which; without it: auto if there are tools."""

    parallel_tool_calls: YesNo = True
    """Whether it may call several."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Raises ApiError for fields that contradict each other."""
        if self.top_logprobs and not self.logprobs:
            raise refused_field("top_logprobs", "'top_logprobs' needs 'logprobs': true", code="invalid_value")
        both = self.max_tokens, self.max_completion_tokens
        if None not in both and both[0] != both[1]:
            raise refused_field(
                "max_tokens",
                "'max_tokens' and 'max_completion_tokens' differ: send one",
                code="invalid_value",
            )
        check_tools([tool.function.name for tool in self.tools], _named(self.tool_choice), self.tool_choice)
        return self

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of an answer; None: as many as the context has."""
        return self.max_completion_tokens or self.max_tokens


def check_tools(names: list[str], named: str | None, choice: object) -> None:
    """Raises ApiError if two tools have one name, or a tool has to be called that isn't there."""
    if len(set(names)) < len(names):
        raise refused_field("tools", "two of 'tools' have the same name", code="invalid_value")
    if named is not None and named not in names:
        raise refused_field(
            "tool_choice", f"'tool_choice' names '{named}', which is none of 'tools'", code="invalid_value"
        )
    if choice == "required" and not names:
        raise refused_field("tool_choice", "'tool_choice': 'required' needs 'tools'", code="invalid_value")


def _named(choice: ToolChoice | None) -> str | None:
    return choice.function.name if isinstance(choice, NamedTool) else None
