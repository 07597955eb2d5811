"""The question which of several models to serve, for the person at the terminal, and the answer. Pure.

Asking is left to the caller: `owner.consent.ask` prints a question and returns the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.plain_text import printable, several
from p2pinfer.sharing.naming.model_ref import SHORT_HASH_CHARACTERS
from p2pinfer.sharing.naming.needed import Candidate, is_established

MOST_SHOWN = 12
_MOST_SPANS = 3


def question(ranked: Sequence[Candidate]) -> str:
    """What to ask the person at the terminal, the most needed model first. `read_answer` reads the answer."""
    lines = ["Several models are served here. The one that needs servers most is the first:", ""]
    for number, candidate in enumerate(ranked[:MOST_SHOWN], 1):
        lines.append(f"  {number:>2}  {_described(candidate)}")
    if len(ranked) > MOST_SHOWN:
        lines.append(f"      and {len(ranked) - MOST_SHOWN:,} more: name one with NAME or NAME@HASH")
    return "\n".join([*lines, "", "Which one? Its number, or Enter for the first: "])


def read_answer(answer: str, ranked: Sequence[Candidate]) -> Candidate | None:
    """The model that a person chose with a number, or with the beginning of its name or hash.

    Without an answer it is the first. None if the answer isn't understood, or fits several.
    """
    words = answer.strip()
    if not words:
        return ranked[0] if ranked else None
    if words.isdecimal() and len(words) <= 3:
        number = int(words)
        return ranked[number - 1] if 1 <= number <= min(len(ranked), MOST_SHOWN) else None
    named = [one for one in ranked if words in (one.listing.model_name, one.listing.model)]
    begun = [one for one in ranked if one.listing.model.startswith(words)] if len(words) >= 8 else []
    fitting = named or begun
    return fitting[0] if len(fitting) == 1 else None


def _described(candidate: Candidate) -> str:
    listing, live = candidate.listing, candidate.live
    gap = candidate.missing
    shown = ", ".join(f"{span.start}-{span.end - 1}" for span in gap[:_MOST_SPANS]) + (
        ", ..." if len(gap) > _MOST_SPANS else ""
    )
    facts = [
        several(listing.num_layers, "layer"),
        several(len(live), "server"),
        f"nobody holds {shown}" if gap else "complete",
    ]
    if candidate.has_files:
        facts.append("files are here")
    elif not is_established(candidate):
        facts.append("one stranger's word")
    name = printable(listing.model_name, 60)
    return f"{name}  {listing.model[:SHORT_HASH_CHARACTERS]}  {', '.join(facts)}"
