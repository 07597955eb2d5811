"""What the swarm holds, from what its servers say. Pure: announcements in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable

from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import Span


def coverage(announcements: Iterable[Announcement], num_layers: int) -> list[int]:
    """How many servers serve each layer of [0, num_layers). Only the state SERVING counts."""
    changes = [0] * (num_layers + 1)
    for announcement in announcements:
        if announcement.state is ServerState.SERVING:
            changes[min(announcement.layers.start, num_layers)] += 1
            changes[min(announcement.layers.end, num_layers)] -= 1
    counts = []
    held = 0
    for change in changes[:num_layers]:
        held += change
        counts.append(held)
    return counts


def missing_layers(announcements: Iterable[Announcement], num_layers: int) -> tuple[Span, ...]:
    """The layers that nobody serves, as the fewest spans, in order."""
    missing: list[Span] = []
    for layer, count in enumerate(coverage(announcements, num_layers)):
        if count:
            continue
        if missing and missing[-1].end == layer:
            missing[-1] = Span(missing[-1].start, layer + 1)
        else:
            missing.append(Span(layer, layer + 1))
    return tuple(missing)
