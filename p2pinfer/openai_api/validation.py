"""What is wrong with a request that pydantic refuses, as an error that a client gets to see. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from p2pinfer.openai_api.errors import ApiError

_Shape = TypeVar("_Shape", bound=BaseModel)

_CODES = {
    "extra_forbidden": "unknown_parameter",
    "json_invalid": "invalid_json",
    "missing": "missing_required_parameter",
}
_TYPES = frozenset({"bool", "float", "int", "str"})
_TAGS = frozenset({"assistant", "function_call", "function_call_output", "message", "system", "tool", "user"})
NO_JSON = "The body isn't valid JSON in UTF-8."
_FORMATS = frozenset({"format", "response_format"})
"""Fields of several kinds. Pydantic writes the kind behind them."""


def validated(shape: type[_Shape], content: object) -> _Shape:
    """The content as a shape. Raises ApiError, which names the field that is wrong."""
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        raise of_validation(error.errors()) from error


def of_validation(errors: Sequence[Any]) -> ApiError:
    """The first thing that is wrong with a request, with the path of its field: `messages[0].content`."""
    # A union says for each kind why the value isn't that; the deepest reason is about what was meant.
    first = max(errors, key=lambda one: len(one["loc"])) if errors else {"loc": (), "msg": "", "type": ""}
    unknown = next((one for one in errors if one["type"] == "extra_forbidden"), None)
    chosen = unknown or first
    param = _path_of(chosen["loc"])
    kind = str(chosen["type"])
    if kind == "extra_forbidden":
        message = f"Unknown parameter: '{param}'. What isn't known is refused."
    elif kind == "missing":
        message = (
            f"Missing required parameter: '{param}'." if param else "The request has no body: send JSON."
        )
    elif kind == "json_invalid":
        message, param = NO_JSON, ""
    else:
        message = f"Invalid value for '{param}': {chosen['msg']}." if param else f"{chosen['msg']}."
    return ApiError(400, message, param=param or None, code=_CODES.get(kind, "invalid_value"))


def _path_of(location: Sequence[str | int]) -> str:
    path, before = "", None
    for part in location[1:] if location and location[0] in ("body", "query", "path") else location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not (_names_a_type(part) or (isinstance(before, int) and part in _TAGS) or before in _FORMATS):
            path += f".{part}" if path else part
        before = part
    return path


def _names_a_type(part: str) -> bool:
    """True for what pydantic writes into a path to say which kind of a union it tried."""
    return part in _TYPES or "[" in part or part[:1].isupper()
