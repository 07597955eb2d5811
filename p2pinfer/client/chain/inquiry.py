"""Asking every hop of a chain where an overdue step is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from p2pinfer.client.chain.blame import blame
from p2pinfer.client.chain.diagnosis import Lying, Silent, Stuck, Working, diagnose
from p2pinfer.client.chain.hop import Hop
from p2pinfer.errors import HopFailedError, HopLiedError, RefusedError


async def locate_step(step_id: int, last_step_id: int, hops: Sequence[Hop]) -> Stuck | Working:
    """Return where the step is. `last_step_id` is that of the last step that was sent.

    Raises HopFailedError if a hop is silent or gone, says what can't be true, or takes back what it said of
    this step; RefusedError if a hop has ended its session.
    """
    answers = await asyncio.gather(*(hop.progress() for hop in hops), return_exceptions=True)
    progress = []
    for index, answer in enumerate(answers):
        if isinstance(answer, HopFailedError | RefusedError):
            reason = await hops[index].why_ended(otherwise=answer)
            raise blame(reason, index, [hop.peer_id for hop in hops])
        if isinstance(answer, BaseException):
            raise answer
        progress.append(answer)
    verdict = diagnose(step_id, last_step_id, progress)
    if isinstance(verdict, Lying):
        raise HopLiedError(hops[verdict.hop].peer_id, "it says that it has had steps that nobody has sent")
    for hop, said in zip(hops, progress, strict=True):
        if hop.takes_back(said, step_id):
            raise HopLiedError(hop.peer_id, "it takes back what it said of its progress")
    if isinstance(verdict, Silent):
        raise HopFailedError(hops[verdict.hop].peer_id, "it does not answer", certain=False)
    return verdict
