"""Errors as answers: a page for browsers, JSON for the API."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from p2pinfer.health.snapshot import words
from p2pinfer.health.web.rendering.templates import render_problem
from p2pinfer.http.answers import HTML, json_answer
from p2pinfer.http.security import HEADERS

_RETRY_SECONDS = 30


class RequestError(Exception):
    """A request that is refused, and what its sender can do."""

    def __init__(self, *, status: int, error: str, what_to_do: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.what_to_do = what_to_do


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemAnswer:
    """Why a request failed, and what to do."""

    error: str
    what_to_do: str


def add_problems(app: FastAPI) -> None:
    """Register the handlers of all errors."""

    @app.exception_handler(RequestError)
    async def refused(request: Request, problem: RequestError) -> Response:
        headers = {"retry-after": str(_RETRY_SECONDS)} if problem.status in (429, 503) else {}
        return _problem_json(problem.status, problem.error, problem.what_to_do, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors()[:4])
        return _problem_json(422, words.plain(said, 300), "/api describes the parameters.", {})

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> Response:
        title, detail = {
            404: (
                "Nothing here",
                "This page doesn't exist. / shows the swarm's health, /api describes the API.",
            ),
            405: ("Wrong method", "This address doesn't take this method. /api describes the API."),
        }.get(error.status_code, ("That did not work", str(error.detail)))
        return _problem_answer(request, error.status_code, title, detail, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        detail = "The page failed; your request is fine. The operator finds the error in the log."
        # The middleware that adds these headers doesn't see this answer.
        return _problem_answer(request, 500, "That did not work", detail, dict(HEADERS))


def _problem_answer(
    request: Request, status: int, title: str, detail: str, headers: dict[str, str]
) -> Response:
    if request.scope["path"].startswith("/api/"):
        return _problem_json(status, title, detail, headers)
    text = render_problem(title=title, detail=detail)
    return Response(text, status_code=status, headers=headers, media_type=HTML)


def _problem_json(status: int, error: str, what_to_do: str, headers: dict[str, str]) -> Response:
    return json_answer({"error": error, "what_to_do": what_to_do}, status=status, headers=headers)
