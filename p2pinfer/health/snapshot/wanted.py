"""Which layers of a model need another server most. Pure."""

from __future__ import annotations

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import ModelView


def wanted_layers(model: ModelView) -> str:
    """The layers with the fewest servers: `layers 20–29 have no server`, `all layers have 2 servers each`.

    A server that is started without --layers chooses such layers by itself. Empty for a model without
    layers.
    """
    if not model.coverage:
        return ""
    fewest = min(stretch.replicas for stretch in model.coverage)
    ranges = [(stretch.start, stretch.end) for stretch in model.coverage if stretch.replicas == fewest]
    are_all = sum(end - start for start, end in ranges) >= model.num_layers > 1
    layers = "all layers" if are_all else words.layer_ranges(ranges)
    servers = words.several(fewest, "server") if fewest > 0 else "no server"
    each = " each" if fewest > 0 and are_all else ""
    return f"{layers} {'has' if layers.startswith('layer ') else 'have'} {servers}{each}"
