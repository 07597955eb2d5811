"""The messages of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from p2pinfer.openai_api.shapes.base import Shape
from p2pinfer.openai_api.shapes.tools import ToolCall

MOST_MESSAGES = 4_096
_ONLY_TEXT = "models here read text only"


class TextPart(Shape):
    """A piece of a message."""

    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = dict.fromkeys(
        ("image_url", "input_audio", "file"), ((), _ONLY_TEXT)
    )
    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset(
        {"annotations", "cache_control", "logprobs", "prompt_cache_breakpoint"}
    )

    type: Literal["text", "input_text", "output_text"]
    text: str


Content = str | list[TextPart]


def text_of(content: Content | None) -> str:
    """The text of a message: its pieces one after another."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content)


class SystemMessage(Shape):
    """What the model is told before the conversation."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"name"})

    role: Literal["system", "developer"]
    content: Content


class UserMessage(Shape):
    """What somebody says to the model."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"name"})

    role: Literal["user"]
    content: Content


class AssistantMessage(Shape):
    """What the model has answered earlier."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"name", "annotations"})
    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = {
        "audio": ((), _ONLY_TEXT),
        "function_call": ((), "use 'tool_calls'"),
        "refusal": (("",), "put it into 'content'"),
    }

    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list)


class ToolMessage(Shape):
    """What a tool has answered."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"name"})

    role: Literal["tool"]
    content: Content
    tool_call_id: str = Field(max_length=256)


_KINDS = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip


def _kind(value: Any) -> str | None:
    role = value.get("role") if isinstance(value, dict) else getattr(value, "role", None)
    return _KINDS.get(role) if isinstance(role, str) else None


Message = Annotated[
    Annotated[SystemMessage, Tag("system")]
    | Annotated[UserMessage, Tag("user")]
    | Annotated[AssistantMessage, Tag("assistant")]
    | Annotated[ToolMessage, Tag("tool")],
    Discriminator(
        _kind,
        custom_error_type="unknown_role",
        custom_error_message="a message has the role system, developer, user, assistant or tool",
    ),
]
