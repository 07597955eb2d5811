"""What all requests share: no field is ignored silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Strict, model_validator

from p2pinfer.openai_api.errors import refused_field

Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
YesNo = Annotated[bool, Strict()]
"""JSON's own types: no text that looks like a number, and `true` is no number."""


class Shape(BaseModel):
    """A JSON object of a request. Fields that aren't declared are refused, unless they are null."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, use_attribute_docstrings=True)

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset()
    """Fields that can't change an answer: they are accepted, and not looked at."""

    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = {}
    """Fields that would change the answer and aren't honoured: the values that ask for nothing, and why."""

    @model_validator(mode="before")
    @classmethod
    def _sort_out(cls, value: Any) -> Any:
        """Drop what has no effect. Raises ApiError for a field of REFUSED that asks for something."""
        if not isinstance(value, dict):
            return value
        kept = {}
        for name, content in value.items():
            if name in cls.REFUSED:
                neutral, why = cls.REFUSED[name]
                if content is not None and not _is_one_of(content, neutral):
                    raise refused_field(name, f"'{name}' isn't supported: {why}")
            elif content is not None and name not in cls.WITHOUT_EFFECT:
                kept[name] = content  # null means: as if it weren't there
        return kept


def _is_one_of(content: Any, values: tuple[Any, ...]) -> bool:
    """Equal in type, too: in Python 0 equals False."""
    return any(type(content) is type(value) and content == value for value in values)
