"""The chat page's addresses: `/`, and `/page/...` for what it loads.

The application adds the security headers to every answer: the page works under the health page's policy.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from p2pinfer.gateway.page.files import page_files
from p2pinfer.http.routes import get

_A_YEAR_SECONDS = 31_536_000


def add_page(app: FastAPI) -> None:
    """Register them. They aren't in the API's document."""
    files = page_files()

    @get(app, "/", documented=False)
    async def page(request: Request) -> Response:
        return files.index.answer(request)

    @get(app, "/page/{path:path}", documented=False)
    async def part(request: Request, path: str) -> Response:
        if (body := files.parts.get(path)) is None:
            raise HTTPException(404)
        answer = body.answer(request)
        answer.headers["cache-control"] = f"public, max-age={_A_YEAR_SECONDS}, immutable"
        return answer
