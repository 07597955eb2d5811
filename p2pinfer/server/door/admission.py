"""Whether a session can be taken: decided from its terms and the server's load, before memory is taken."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.server.sessions.lease import leased_tokens
from p2pinfer.types import PeerId, Span
from p2pinfer.wire.inference_pb2 import Terms
from p2pinfer.wire.status import Reason, Refused

RETRY_AFTER_SECONDS = 2.0
MAX_ROWS = 256
MAX_SESSIONS = 512
MAX_CLIENT_SESSIONS = 128
"""The most sessions of one client: each may have a step waiting, and the queue must stay bounded."""


MOST_FOR_PATIENT = 0.625
"""Of the cache, for patient sessions together: batches of documents take all that they get, and questions,
their own client's too, have to find room beside them. Only a single row may have more, where it is the only
patient session: a long document fits nowhere else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the server is, and what it has left."""

    peer_id: PeerId
    model: str
    numerics: str
    layers: Span
    max_positions: int
    cache_tokens: int
    free_cache_tokens: int
    patient_tokens: int  # that patient sessions have leased
    sessions: int
    draining: bool


def admit(terms: Terms, load: Load, client_sessions: int) -> Refused | None:
    """Return why this session can't be taken, or None. Its client has `client_sessions` sessions here."""
    layers = Span(terms.first_layer, terms.end_layer)
    if terms.server != load.peer_id:
        return Refused(Reason.WRONG_SERVER, f"the opening is for {terms.server}, this is {load.peer_id}")
    if load.draining:
        return Refused(Reason.DRAINING, "this server is leaving: choose another")
    if terms.model != load.model:
        return Refused(
            Reason.WRONG_MODEL,
            f"this server holds model {load.model[:12]}, not {terms.model[:12]}: "
            "convert the same source with the same version, or look for the other swarm",
        )
    if terms.numerics != load.numerics:
        return Refused(
            Reason.WRONG_NUMERICS, f"this server computes as {load.numerics}, the route as {terms.numerics}"
        )
    if not layers.within(load.layers):
        return Refused(Reason.WRONG_LAYERS, f"this server holds layers {load.layers}, not {layers}")
    if terms.rows > MAX_ROWS:
        return Refused(Reason.TOO_LONG, f"at most {MAX_ROWS} sequences fit in a session, not {terms.rows}")
    if terms.max_tokens > load.max_positions:
        return Refused(
            Reason.TOO_LONG,
            f"the model takes {load.max_positions} tokens, the session asks for {terms.max_tokens}",
        )
    tokens = -(-leased_tokens(terms) * len(layers) // len(load.layers))  # of the whole span
    if tokens > load.cache_tokens:
        return Refused(
            Reason.TOO_LONG,
            f"the session asks for {tokens} tokens of cache, this server has {load.cache_tokens} in all: "
            "ask for fewer rows or tokens, or for a larger server",
        )
    most = int(MOST_FOR_PATIENT * load.cache_tokens)
    if terms.patient and terms.rows > 1 and tokens > most:
        return Refused(
            Reason.TOO_LONG,
            f"patient sessions may have {most} tokens of cache, the session asks for {tokens}: "
            "ask for fewer rows or tokens, or for a larger server",
        )
    if tokens > load.free_cache_tokens:
        return Refused(
            Reason.CACHE_FULL,
            f"{load.free_cache_tokens} tokens of cache are free, the session asks for {tokens}: "
            "try again later or elsewhere",
            RETRY_AFTER_SECONDS,
        )
    if terms.patient and load.patient_tokens and load.patient_tokens + tokens > most:
        return Refused(
            Reason.CACHE_FULL,
            f"patient sessions may have {most} tokens of cache and have {load.patient_tokens}, "
            f"the session asks for {tokens}: try again later or elsewhere",
            RETRY_AFTER_SECONDS,
        )
    if load.sessions >= MAX_SESSIONS or client_sessions >= MAX_CLIENT_SESSIONS:
        whose = "this client has" if client_sessions >= MAX_CLIENT_SESSIONS else "this server has"
        return Refused(
            Reason.BUSY,
            f"{whose} as many sessions open here as it may: put sequences into one session's rows, "
            "or try again later or elsewhere",
            RETRY_AFTER_SECONDS,
        )
    return None


def lacks_room(refused: Refused) -> bool:
    """True for a session that others would have to make room for."""
    return refused.reason in (Reason.CACHE_FULL, Reason.BUSY)
