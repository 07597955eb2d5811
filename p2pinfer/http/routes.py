"""Registers an address for GET and HEAD at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import FastAPI, Response

_Answer = TypeVar("_Answer", bound=Callable[..., Awaitable[Response]])


def get(
    app: FastAPI,
    path: str,
    *,
    documented: bool = True,
    model: type | None = None,
    responses: dict[int | str, dict[str, Any]] | None = None,
) -> Callable[[_Answer], _Answer]:
    """Register for GET, and for HEAD, which FastAPI leaves out. The web server omits the body of a HEAD."""

    def register(answer: _Answer) -> _Answer:
        app.get(path, include_in_schema=documented, response_model=model, responses=responses)(answer)
        app.head(path, include_in_schema=False, response_model=None)(answer)
        return answer

    return register
