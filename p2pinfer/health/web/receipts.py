"""Takes bundles of receipts from strangers, and passes them on part by part: it stores nothing."""

from __future__ import annotations

import asyncio
import logging

from starlette.requests import ClientDisconnect, Request

from p2pinfer.errors import DatabaseError, UsageError
from p2pinfer.health.snapshot.source import MAX_BUNDLE_BYTES, HealthSource, Submission
from p2pinfer.health.web.problems import RequestError
from p2pinfer.http.request_body import BodyTooLargeError, body_parts

logger = logging.getLogger(__name__)

_MOST_AT_A_TIME = 4
_MOST_SECONDS = 60.0
_TOO_LARGE = f"A bundle has at most {MAX_BUNDLE_BYTES // 10**6} MB."
_SMALLER = "Submit one month at a time: python -m p2pinfer.owner export --month YYYY-MM --out FILE"


class Intake:
    """Takes bundles, at most four at a time."""

    def __init__(self, source: HealthSource, *, most_seconds: float = _MOST_SECONDS) -> None:
        self._source = source
        self._most_seconds = most_seconds
        self._busy = 0

    async def take(self, request: Request) -> Submission:
        """Pass the request's bundle to the source. Raises RequestError."""
        if self._busy >= _MOST_AT_A_TIME:
            raise RequestError(
                status=503,
                error="Others are submitting receipts at the moment.",
                what_to_do="Try again in a minute.",
            )
        self._busy += 1
        try:
            async with asyncio.timeout(self._most_seconds):
                return await self._source.submit(body_parts(request, MAX_BUNDLE_BYTES, _TOO_LARGE))
        except BodyTooLargeError as error:
            raise RequestError(
                status=413,
                error=str(error),
                what_to_do=_SMALLER,
            ) from error
        except UsageError as error:
            raise RequestError(
                status=400,
                error=str(error),
                what_to_do="Send a file that python -m p2pinfer.owner export --out FILE wrote.",
            ) from error
        except DatabaseError as error:
            logger.error("receipts can't be kept: %s", error)
            raise RequestError(
                status=503,
                error="The leaderboard can't be written at the moment.",
                what_to_do="Try again later. The page's operator finds the reason in its log.",
            ) from error
        except (TimeoutError, ClientDisconnect) as error:
            raise RequestError(
                status=408,
                error=f"The bundle didn't arrive within {self._most_seconds:.0f} seconds.",
                what_to_do=_SMALLER,
            ) from error
        finally:
            self._busy -= 1
