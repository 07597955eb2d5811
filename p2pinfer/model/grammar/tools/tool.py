"""The tools that a request offers, checked, and which of them the answer may or must call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pinfer.errors import UsageError
from p2pinfer.model.grammar.schemas import Schema, read_schema
from p2pinfer.plain_text import printable

MOST_TOOLS = 128
MOST_CHARACTERS = 256 * 1024
"""Of the schemas of all tools together."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A tool as a user describes it: nothing is checked."""

    name: Any
    description: Any = None
    parameters: Any = None
    """A JSON schema of an object; None: the tool takes nothing."""
    is_strict: bool = False
    """Refuse keywords that can't be enforced, see `read_schema`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that a model may call."""

    name: str
    description: str
    parameters: dict[str, Any]
    """As the user wrote them, for the model to read."""
    schema: Schema
    """The same, as a grammar enforces them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """Whether the answer must call tools, and how many."""

    must_call: bool = False
    """False: the model chooses between text and calls."""
    only: str | None = None
    """The only tool that may be called; None: any."""
    is_parallel: bool = True
    """Several calls in one answer."""


@dataclass(frozen=True, slots=True)
class CheckedTools:
    """What a request offers. Make it with `read_tools`."""

    all: tuple[Tool, ...]
    choice: ToolChoice = field(default_factory=ToolChoice)

    @property
    def callable(self) -> tuple[Tool, ...]:
        """The tools that the answer may call."""
        return tuple(tool for tool in self.all if self.choice.only in (None, tool.name))


def read_tools(definitions: Sequence[ToolDefinition], choice: ToolChoice | None = None) -> CheckedTools:
    """Check what a user sent. Raises UsageError: for names, too many tools, schemas, a choice of none."""
    choice = choice or ToolChoice()
    if not 0 < len(definitions) <= MOST_TOOLS:
        raise UsageError(f"tools: 1 to {MOST_TOOLS} are possible, not {len(definitions)}")
    tools: dict[str, Tool] = {}
    for number, definition in enumerate(definitions):
        tool = _read_tool(definition, f"tools[{number}]")
        if tool.name in tools:
            raise UsageError(f"tools[{number}]: there are two tools called {tool.name}")
        tools[tool.name] = tool
    if sum(len(tool.schema.text) for tool in tools.values()) > MOST_CHARACTERS:
        raise UsageError(f"tools: their parameters have more than {MOST_CHARACTERS:,} characters together")
    if choice.only is not None and choice.only not in tools:
        raise UsageError(f"tool_choice names {printable(str(choice.only), 64)!r}, which is none of the tools")
    return CheckedTools(tuple(tools.values()), choice)


def _read_tool(definition: ToolDefinition, place: str) -> Tool:
    name, description, parameters = definition.name, definition.description, definition.parameters
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"{place}: a name has 1 to 64 letters, digits, _ and -, not {printable(repr(name), 80)}"
        )
    if not (description is None or isinstance(description, str)):
        raise UsageError(f"{place}: the description must be a text")
    parameters = {"type": "object", "properties": {}} if parameters in (None, {}) else parameters
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        raise UsageError(f"{place}: the parameters must be the schema of an object")
    schema = read_schema(
        {"type": "object", **parameters},
        is_strict=definition.is_strict,
        name=f"the parameters of {name} ({place})",
    )
    return Tool(name=name, description=description or "", parameters=parameters, schema=schema)
