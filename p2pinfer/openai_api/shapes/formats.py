"""What form an answer has to have."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from p2pinfer.openai_api.shapes.base import Shape, YesNo
from p2pinfer.openai_api.shapes.tools import Name


class TextFormat(Shape):
    """Any text."""

    type: Literal["text"]


class JsonObject(Shape):
    """Any JSON object."""

    type: Literal["json_object"]


class Schema(Shape):
    """A JSON schema with a name."""

    name: Name
    description: str = ""
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    strict: YesNo = False
    """Refuse what can't be enforced of the schema; otherwise it is left out."""


class JsonSchema(Shape):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: Schema
