"""The items of a conversation in `POST /v1/responses`. What only OpenAI's own tools make is refused."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from p2pinfer.openai_api.errors import refused_field
from p2pinfer.openai_api.shapes.base import Shape
from p2pinfer.openai_api.shapes.messages import Content
from p2pinfer.openai_api.shapes.tools import Name


class MessageItem(Shape):
    """Something that was said."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"id", "status", "phase", "name"})

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class CallItem(Shape):
    """A call that the model made."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"id", "status", "caller", "namespace"})

    type: Literal["function_call"]
    call_id: str = Field(max_length=256)
    name: Name
    arguments: str = "{}"


class OutputItem(Shape):
    """What a tool has answered."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"id", "status", "caller"})

    type: Literal["function_call_output"]
    call_id: str = Field(max_length=256)
    output: Content


def _kind(value: Any) -> str | None:
    """Raises ApiError for an item of another kind, which names it."""
    kind = value.get("type", "message") if isinstance(value, dict) else getattr(value, "type", None)
    if kind is None:
        kind = "message"
    if kind == "item_reference":
        raise refused_field(
            "input", "'item_reference' isn't supported: the gateway keeps no answers, send the whole item"
        )
    if isinstance(kind, str) and kind not in ("message", "function_call", "function_call_output"):
        raise refused_field("input", f"an item of type '{kind}' isn't supported")
    return kind if isinstance(kind, str) else None


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[OutputItem, Tag("function_call_output")],
    Discriminator(_kind),
]
