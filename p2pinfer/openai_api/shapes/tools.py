"""Tools that a model may call, in the form of chat completions. Responses have a flatter one."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from p2pinfer.openai_api.shapes.base import Shape, YesNo

MOST_TOOLS = 128
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Function(Shape):
    """What a tool is called and takes."""

    name: Name
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """A JSON schema of the arguments. The answer's arguments always fit it."""
    strict: YesNo = False
    """Refuse what can't be enforced of the schema; otherwise it is left out."""


class Tool(Shape):
    """A function that the model may call."""

    type: Literal["function"]
    function: Function


class FunctionName(Shape):
    """Names a tool."""

    name: Name


class NamedTool(Shape):
    """The tool that has to be called."""

    type: Literal["function"]
    function: FunctionName


class CalledFunction(Shape):
    """What was called, with which arguments."""

    name: Name
    arguments: str = "{}"
    """JSON."""


class ToolCall(Shape):
    """A call that the model made earlier in the conversation."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"index"})

    id: str = Field(max_length=256)
    type: Literal["function"] = "function"
    function: CalledFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool
