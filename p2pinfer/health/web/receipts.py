"""Takes bundles of receipts from strangers, and passes them on: it stores nothing.

A bundle is there as a whole before it takes one of the few places, so a slow sender holds up nobody. To check
a large one takes many seconds of computing; so a network has one place, and so many bytes in a while.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from p2pinfer.errors import DatabaseError, UsageError
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.health.snapshot.source import MAX_BUNDLE_BYTES, HealthSource, Submission
from p2pinfer.health.web.problems import RequestError
from p2pinfer.http.bodies import Arrival, Bodies, BodyGivenUpError
from p2pinfer.http.request_body import BodyTooLargeError, body_parts
from p2pinfer.http.sources import guest_of_request

logger = logging.getLogger(__name__)

_MOST_AT_A_TIME = 4
_MOST_WAIT_SECONDS = 60.0
_MOST_COMING_BYTES = 64 << 20
BYTES = RateBound(in_all=1e12, per_source=4.0 * MAX_BUNDLE_BYTES, per_key=1e12, seconds=600.0)
"""Of bundles: an archive of months at once, and then one large bundle in 150 s."""

_TOO_LARGE = f"A bundle has at most {MAX_BUNDLE_BYTES // 10**6} MB."
_SMALLER = "Submit one month at a time: python -m p2pinfer.owner export --month YYYY-MM --out FILE"


class Intake:
    """Takes bundles, at most four at a time, of each network one."""

    def __init__(self, source: HealthSource, *, most_wait_seconds: float = _MOST_WAIT_SECONDS) -> None:
        self._source = source
        self._most_wait_seconds = most_wait_seconds
        self._bodies = Bodies(_MOST_COMING_BYTES)
        self._rates = Rates(BYTES)
        self._places = asyncio.Semaphore(_MOST_AT_A_TIME)
        self._turns: dict[Guest, tuple[asyncio.Lock, int]] = {}
        """Of each network that has bundles here: whose turn it is, and how many there are."""

    async def take(self, request: Request) -> Submission:
        """Pass the request's bundle to the source. Raises RequestError."""
        guest = guest_of_request(request.scope)
        try:
            with self._bodies.arriving(guest.sources[0]) as arrival:
                bundle = await _whole(request, arrival)
                self._count(guest, len(bundle))
                async with self._place(guest):
                    return await self._source.submit(_parts(bundle))
        except BodyTooLargeError as error:
            raise RequestError(
                status=413,
                error=str(error),
                what_to_do=_SMALLER,
            ) from error
        except BodyGivenUpError as error:
            raise _busy() from error
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
        except ClientDisconnect as error:
            raise RequestError(
                status=408, error="The bundle didn't arrive as a whole.", what_to_do=_SMALLER
            ) from error

    def _count(self, guest: Guest, size_bytes: int) -> None:
        now = asyncio.get_running_loop().time()
        if (wait_seconds := self._rates.use(guest, now, float(size_bytes))) > 0:
            raise RequestError(
                status=429,
                error="Your network has submitted many receipts.",
                what_to_do=f"Send the rest in {math.ceil(wait_seconds)} seconds.",
            )

    @asynccontextmanager
    async def _place(self, guest: Guest) -> AsyncIterator[None]:
        """Wait for the network's turn, then for a place. Raises RequestError."""
        lock, waiting = self._turns.get(guest, (asyncio.Lock(), 0))
        self._turns[guest] = (lock, waiting + 1)
        try:
            try:
                async with asyncio.timeout(self._most_wait_seconds):
                    await lock.acquire()
                    try:
                        await self._places.acquire()
                    except BaseException:
                        lock.release()
                        raise
            except TimeoutError as error:
                raise _busy() from error
            try:
                yield
            finally:
                self._places.release()
                lock.release()
        finally:
            lock, waiting = self._turns.pop(guest)
            if waiting > 1:
                self._turns[guest] = (lock, waiting - 1)


def _busy() -> RequestError:
    return RequestError(
        status=503,
        error="Others are submitting receipts at the moment.",
        what_to_do="Try again in a minute.",
    )


async def _whole(request: Request, arrival: Arrival) -> bytes:
    """The body, in memory. Raises what `body_parts` and `Arrival.part` do."""
    counted = Request(request.scope, lambda: arrival.part(request.receive))
    return b"".join([part async for part in body_parts(counted, MAX_BUNDLE_BYTES, _TOO_LARGE)])


async def _parts(bundle: bytes) -> AsyncIterator[bytes]:
    yield bundle
