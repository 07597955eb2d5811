"""Where a model needs another server most, in words. Pure."""

from __future__ import annotations

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import ModelView, Stretch


def wanted_layers(model: ModelView) -> str:
    """`layers 20–29 have no server`, `all layers have 2 servers each`, `layers 0–9 are served slowest`.

    A server that is started without --layers chooses such layers by itself. Empty for a model without
    layers.
    """
    if not model.wanted:
        return ""
    return f"{_wanted(model)}{' in the sample' if model.population.is_sample else ''}"


def _wanted(model: ModelView) -> str:
    ranges = _joined(model.wanted)
    counts = {stretch.replicas for stretch in model.wanted}
    are_all = sum(end - start for start, end in ranges) >= model.num_layers > 1
    layers = "all layers" if are_all else words.layer_ranges(ranges)
    fewest_elsewhere = min((stretch.replicas for stretch in model.coverage), default=0)
    if len(counts) > 1 or (not are_all and min(counts) > fewest_elsewhere):  # counts would mislead
        return f"{layers} {'is' if layers.startswith('layer ') else 'are'} served slowest"
    [fewest] = counts
    servers = words.several(fewest, "server") if fewest > 0 else "no server"
    each = " each" if fewest > 0 and are_all else ""
    return f"{layers} {'has' if layers.startswith('layer ') else 'have'} {servers}{each}"


def _joined(stretches: tuple[Stretch, ...]) -> list[tuple[int, int]]:
    """The ranges of the stretches, as few as can be."""
    ranges: list[tuple[int, int]] = []
    for stretch in stretches:
        if ranges and ranges[-1][1] == stretch.start:
            ranges[-1] = ranges[-1][0], stretch.end
        else:
            ranges.append((stretch.start, stretch.end))
    return ranges
