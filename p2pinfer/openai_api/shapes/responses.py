"""`POST /v1/responses`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from p2pinfer.openai_api.errors import refused_field
from p2pinfer.openai_api.shapes.base import Shape, Whole, YesNo
from p2pinfer.openai_api.shapes.chat import check_tools
from p2pinfer.openai_api.shapes.formats import JsonObject, Schema, TextFormat
from p2pinfer.openai_api.shapes.response_items import Item
from p2pinfer.openai_api.shapes.sampling import NO_EFFECT, STATELESS, Extension, SamplingFields, StreamOptions
from p2pinfer.openai_api.shapes.tools import MOST_TOOLS, Name

LOGPROBS = "message.output_text.logprobs"


class FlatSchema(Schema):
    """JSON that fits a schema."""

    type: Literal["json_schema"]


class TextSettings(Shape):
    """The form of the answer."""

    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = {
        "verbosity": (("medium",), "no model here has such a setting"),
    }

    format: TextFormat | JsonObject | FlatSchema = Field(TextFormat(type="text"), discriminator="type")


class FlatTool(Shape):
    """A function that the model may call."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"output_schema"})
    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = {
        "allowed_callers": ((["direct"],), "only the model itself calls tools"),
        "defer_loading": ((False,), "tools are always there"),
    }

    type: Literal["function"]
    name: Name
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    strict: YesNo = False
    """Refuse what can't be enforced of the schema; otherwise it is left out."""


class FlatNamedTool(Shape):
    """The tool that has to be called."""

    type: Literal["function"]
    name: Name


class Reasoning(Shape):
    """Nothing of it can be set."""

    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = dict.fromkeys(
        ("effort", "summary", "generate_summary", "context", "mode"), ((), "no model here has such a setting")
    )


Included = Literal["message.output_text.logprobs", "reasoning.encrypted_content"]


def _as_items(value: Any) -> Any:
    return [{"type": "message", "role": "user", "content": value}] if isinstance(value, str) else value


class ResponseRequest(SamplingFields):
    """A conversation to go on with, as items."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = NO_EFFECT - {"metadata", "user"}
    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = {
        "access_programs": ((), "the gateway has none"),
        "background": ((False,), STATELESS),
        "background_options": ((), STATELESS),
        "context_management": ((), "the gateway shortens no conversation"),
        "conversation": ((), f"{STATELESS}: send the whole conversation as 'input'"),
        "image": ((), "models here write text only"),
        "max_tool_calls": ((), "the gateway calls no tools"),
        "moderation": ((), "the gateway judges no texts"),
        "previous_response_id": ((), f"{STATELESS}: send the whole conversation as 'input'"),
        "prompt": ((), "the gateway keeps no prompts: send 'instructions' and 'input'"),
        "store": ((False,), STATELESS),
        "truncation": (("disabled",), "the gateway shortens no conversation"),
    }

    model: str = Field(max_length=512)
    """One of `GET /v1/models`."""

    input: Annotated[list[Item], BeforeValidator(_as_items), Field(min_length=1, max_length=4_096)]
    """A text, or the items of the conversation."""

    instructions: str | None = None
    """What the model is told before the conversation."""

    max_output_tokens: Whole | None = Field(None, ge=1)
    """The answer ends after so many tokens."""

    text: TextSettings = TextSettings(format=TextFormat(type="text"))
    reasoning: Reasoning = Reasoning()

    tools: list[FlatTool] = Field(default_factory=list, max_length=MOST_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | FlatNamedTool = "auto"
    parallel_tool_calls: YesNo = True

    include: list[Included] = Field(default_factory=list)
    top_logprobs: Whole = Field(0, ge=0, le=20)
    """Needs `message.output_text.logprobs` in `include`."""

    metadata: dict[str, str] = Field(default_factory=dict)
    """Comes back with the answer."""

    user: str | None = None
    stream: YesNo = False
    stream_options: StreamOptions = StreamOptions()
    p2pinfer: Extension = Extension()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Raises ApiError for fields that contradict each other."""
        if self.top_logprobs and not self.wants_logprobs:
            raise refused_field(
                "top_logprobs", f"'top_logprobs' needs '{LOGPROBS}' in 'include'", code="invalid_value"
            )
        named = self.tool_choice.name if isinstance(self.tool_choice, FlatNamedTool) else None
        check_tools([tool.name for tool in self.tools], named, self.tool_choice)
        return self

    @property
    def wants_logprobs(self) -> bool:
        """Whether the probability of each token is told."""
        return LOGPROBS in self.include
