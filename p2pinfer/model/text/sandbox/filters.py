"""The filters and tests that a template may use, counted before they run."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import Environment, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.tests import TESTS

from p2pinfer.model.text.sandbox.budget import Budget
from p2pinfer.model.text.sandbox.methods import check_replace

CurrentBudget = Callable[[], Budget]
Anything = Callable[..., Any]

_SHALLOW = (
    *("abs", "count", "d", "default", "first", "float", "int", "items", "last", "length", "list", "map"),
    *(
        "reject",
        "rejectattr",
        "reverse",
        "select",
        "selectattr",
        "capitalize",
        "e",
        "escape",
        "lower",
        "safe",
    ),
    *("title", "trim", "upper", "wordcount"),
)
"""They look at the items of a value once, but not into them."""

_DEEP = ("dictsort", "groupby", "max", "min", "sort", "string", "unique")
"""They print or compare all of a value."""

_MOST_INDENT = 64


_COMPARING = (
    *("!=", "<", "<=", "==", ">", ">=", "eq", "equalto", "ge", "greaterthan", "gt", "in", "le", "lessthan"),
    *("lt", "ne", "lower", "upper"),
)
"""Tests that look at all of their values; the others look at a type."""


def filters(budget: CurrentBudget) -> dict[str, Anything]:
    """The filters by name."""
    return {
        **{name: _guarded(FILTERS[name], budget, deep=False) for name in _SHALLOW},
        **{name: _guarded(FILTERS[name], budget, deep=True) for name in _DEEP},
        "indent": functools.partial(_indent, budget),
        "join": _join(budget),
        "replace": functools.partial(_replace, budget),
        "round": functools.partial(_round, budget),
        "tojson": functools.partial(_tojson, budget),
    }


def tests(budget: CurrentBudget) -> dict[str, Anything]:
    """The tests by name."""
    known: Mapping[str, Any] = TESTS
    return {name: _guarded(test, budget, deep=name in _COMPARING) for name, test in known.items()}


def _guarded(function: Anything, budget: CurrentBudget, *, deep: bool) -> Anything:
    """A filter or test that counts its work first."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        left = budget()
        left.spend(20)
        value = arguments[first]
        if isinstance(value, Iterator):
            value = list(left.counted(value)) if deep else left.counted(value)
        elif not deep and isinstance(value, str | list | tuple | dict | range):
            left.spend(len(value) if first else len(value) // 16)
        if deep:
            left.walk(value, *arguments[first + 1 :], *named.values())
        return function(*arguments[:first], value, *arguments[first + 1 :], **named)

    return guarded


def _join(budget: CurrentBudget) -> Anything:
    @pass_environment
    def join(
        environment: Environment, value: Iterable[Any], d: Any = "", attribute: str | int | None = None
    ) -> str:
        left = budget()
        items = list(left.counted(value))
        if attribute is not None:
            items = list(map(make_attrgetter(environment, attribute), items))
        between = str(d) if isinstance(d, str | int) else ""
        left.room(left.walk(items) + len(between) * len(items))
        return between.join(map(str, items))

    return join


def _replace(budget: CurrentBudget, value: Any, old: Any, new: Any, count: int | None = None) -> str:
    left = budget()
    left.walk(value, old, new)
    text, old, new = str(value), str(old), str(new)
    check_replace(left, text, old, new)
    return text.replace(old, new, -1 if count is None else count)


def _indent(
    budget: CurrentBudget, value: str, width: int | str = 4, first: bool = False, blank: bool = False
) -> str:
    left = budget()
    size = len(width) if isinstance(width, str) else int(width)
    if size > _MOST_INDENT:
        raise SecurityError(f"it indents by more than {_MOST_INDENT}")
    left.room(len(value) + (value.count("\n") + 2) * max(size, 0))
    indented: str = FILTERS["indent"](value, width, first, blank)
    return indented


def _round(budget: CurrentBudget, value: Any, precision: int = 0, method: str = "common") -> Any:
    budget().spend(1)
    if abs(precision) > 100:
        raise SecurityError("it rounds to more than 100 places")
    return FILTERS["round"](value, precision, method)


def _tojson(
    budget: CurrentBudget,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as `transformers` writes it for chat templates: for models, so nothing is escaped for HTML."""
    left = budget()
    left.walk(value)
    if indent is not None and (len(indent) if isinstance(indent, str) else int(indent)) > _MOST_INDENT:
        raise SecurityError(f"it indents by more than {_MOST_INDENT}")
    if separators is not None:
        left.walk(separators)
        if sum(map(len, separators)) > _MOST_INDENT:
            raise SecurityError(f"it separates by more than {_MOST_INDENT} characters")
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    pieces = []
    for piece in encoder.iterencode(value):
        left.spend(1 + len(piece))
        pieces.append(piece)
    return "".join(pieces)
