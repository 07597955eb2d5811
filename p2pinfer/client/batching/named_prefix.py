"""What a KEEP or RECALL step of a table says to hops. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.client.batching.row import RowStep
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.prefixes.names import Names, Route
from p2pinfer.wire.prefix_steps import Prefix


def named_prefix(step: RowStep, names: Names, hops: Sequence[Hop]) -> Prefix:
    """The prefix of a step, under the name that it has on the route of these hops."""
    cuts = tuple(hop.server.hop.layers for hop in hops)
    route = Route(numerics=hops[0].server.record.numerics, cuts=cuts)
    if (keep := step.keep) is not None:
        name = names.name(keep.tokens, keep.scope, route)
        return Prefix(keep.row, len(keep.tokens), name, keep.scope.is_shared)
    assert step.recall is not None
    part, scope = step.parts[0], step.parts[0].row.scope
    name = names.name(step.recall.named, scope, route)
    return Prefix(part.row.index, part.end, name, scope.is_shared)
