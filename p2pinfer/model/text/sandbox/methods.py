"""Which methods of texts and containers a template may call, counted before they run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.exceptions import SecurityError

from p2pinfer.model.text.sandbox.budget import Budget

Check = Callable[[Budget, Any, "tuple[Any, ...]"], None]

_WIDE = re.compile(r"[0-9]{4,}|\*|:[^{}]*\{")
"""In a format: a width or precision of 1,000 and more, or one that comes from elsewhere."""


def check_call(budget: Budget, function: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Count a call of a built-in method. Raises SecurityError for one that no template needs."""
    owner = getattr(function, "__self__", None)
    if owner is None:
        owner = getattr(getattr(function, "__wrapped__", None), "__self__", None)  # str.format in the sandbox
    kind = next(
        (kind for kind in (str, list, tuple, dict, int, float, bytes) if isinstance(owner, kind)), None
    )
    if kind is None:
        return
    name = getattr(function, "__name__", "")
    check = _METHODS.get(kind, {}).get(name)
    if check is None or (named and name not in ("format", "split", "rsplit", "splitlines")):
        raise SecurityError(f"it calls {kind.__name__}.{name}, which p2pinfer doesn't do for a chat template")
    budget.walk(*arguments, *named.values())
    check(budget, owner, (*arguments, *named.values()))


def check_replace(budget: Budget, text: str, old: str, new: str) -> None:
    """Count a replacement before it is made."""
    found = text.count(old) if old else len(text) + 1
    budget.room(len(text) + found * len(new))


def check_format(budget: Budget, form: str, marker: str, arguments: tuple[Any, ...]) -> None:
    """Count a formatted text before it is made."""
    if _WIDE.search(form):
        raise SecurityError(
            "it formats with a width or a precision that p2pinfer doesn't do for a chat template"
        )
    budget.room(len(form) + form.count(marker) * (1000 + budget.walk(*arguments)))


def _look(budget: Budget, text: str, arguments: tuple[Any, ...]) -> None:
    budget.spend(1 + len(text) // 16)


def _change_case(budget: Budget, text: str, arguments: tuple[Any, ...]) -> None:
    budget.room(3 * len(text))  # a character becomes three at most


def _split(budget: Budget, text: str, arguments: tuple[Any, ...]) -> None:
    budget.room(len(text))


def _replace(budget: Budget, text: str, arguments: tuple[Any, ...]) -> None:
    if len(arguments) >= 2 and isinstance(arguments[0], str) and isinstance(arguments[1], str):
        check_replace(budget, text, arguments[0], arguments[1])


def _pad(budget: Budget, text: str, arguments: tuple[Any, ...]) -> None:
    if arguments and isinstance(arguments[0], int):
        budget.room(max(arguments[0], len(text)))


def _join(budget: Budget, text: str, arguments: tuple[Any, ...]) -> None:
    if not arguments or not isinstance(arguments[0], str | list | tuple | dict):
        raise SecurityError("it joins what is neither a list nor a text: put `| list` before it")
    budget.room(budget.walk(arguments[0]) + len(text) * len(arguments[0]))


def _format(budget: Budget, text: str, arguments: tuple[Any, ...]) -> None:
    check_format(budget, text, "{", arguments)


def _walk(budget: Budget, owner: Any, arguments: tuple[Any, ...]) -> None:
    budget.walk(owner)


def _free(budget: Budget, owner: Any, arguments: tuple[Any, ...]) -> None:
    budget.spend(1)


_METHODS: dict[type, dict[str, Check]] = {
    str: {
        **dict.fromkeys(
            (
                *("strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "partition", "rpartition"),
                *("startswith", "endswith", "find", "rfind", "index", "rindex", "count"),
                *("isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower"),
                *("isnumeric", "isprintable", "isspace", "istitle", "isupper"),
            ),
            _look,
        ),
        **dict.fromkeys(("capitalize", "casefold", "lower", "swapcase", "title", "upper"), _change_case),
        **dict.fromkeys(("split", "rsplit", "splitlines"), _split),
        **dict.fromkeys(("center", "ljust", "rjust", "zfill"), _pad),
        "replace": _replace,
        "join": _join,
        "format": _format,
    },
    list: {"index": _walk, "count": _walk, "copy": _walk},
    tuple: {"index": _walk, "count": _walk},
    dict: {"get": _free, "items": _free, "keys": _free, "values": _free, "copy": _walk},
}
