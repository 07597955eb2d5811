"""The chat page's addresses: `/`, and `/page/...` for what it loads.

The application adds the security headers to every answer: the page works under the health page's policy.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from p2pinfer.gateway.page.files import page_files

_A_YEAR_SECONDS = 31_536_000
_METHODS = ["GET", "HEAD"]


def page_router() -> APIRouter:
    """The addresses. They aren't in the API's document."""
    files = page_files()
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=_METHODS, response_model=None)
    async def page(request: Request) -> Response:
        return files.index.answer(request)

    @router.api_route("/page/{path:path}", methods=_METHODS, response_model=None)
    async def part(request: Request, path: str) -> Response:
        if (body := files.parts.get(path)) is None:
            raise HTTPException(404)
        answer = body.answer(request)
        answer.headers["cache-control"] = f"public, max-age={_A_YEAR_SECONDS}, immutable"
        return answer

    return router
