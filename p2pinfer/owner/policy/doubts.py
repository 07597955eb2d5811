"""Signals that aren't certain, as causes to stop: one for each source, which names its trouble first. Pure.

A broker that is switched off makes five signals unknown. Its owner needs to hear of the broker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from p2pinfer.owner.policy.causes import Cause
from p2pinfer.owner.policy.certainty import Doubt, duration
from p2pinfer.owner.policy.conditions import Action
from p2pinfer.owner.signals.config import Entity, MqttTopic, SignalsConfig
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.trouble import Trouble
from p2pinfer.plain_text import printable

_BAD = "bad-signal"  # it has come, so its source works
_MOST_CHARACTERS = 400


def doubt_causes(
    doubts: Mapping[Signal, Doubt], troubles: Mapping[Signal, Trouble], config: SignalsConfig
) -> Iterator[Cause]:
    """The causes for the signals in `doubts`, in the order of their first signals.

    `troubles` says what is wrong with the sources, as far as it is known.
    """
    groups: dict[tuple[str, ...], list[Signal]] = {}
    for signal, doubt in doubts.items():
        groups.setdefault(_cause_of(signal, doubt, troubles.get(signal), config), []).append(signal)
    for signals in groups.values():
        doubt, trouble = doubts[signals[0]], troubles.get(signals[0])
        code = doubt.code
        if code != _BAD and trouble is not None:
            origins = list(dict.fromkeys(troubles[signal].origin for signal in signals))
            code, words = f"{origins[0]}: {trouble.kind}", _with_trouble(signals, trouble, origins)
        elif len(signals) == 1:
            words = doubt.words
        else:
            silence = max(doubts[signal].seconds for signal in signals)
            verb, since = ("heard", f" for {duration(silence)}") if silence else ("is known", "")
            source = _shared_source(signals[0], config)
            words = f"nothing {verb} of {_listed(signals)}{since} ({source})"
        yield Cause(code=code, words=printable(words, _MOST_CHARACTERS), action=Action.STOP)


def _cause_of(
    signal: Signal, doubt: Doubt, trouble: Trouble | None, config: SignalsConfig
) -> tuple[str, ...]:
    """Equal for signals that one sentence can speak of."""
    source = _shared_source(signal, config)
    if doubt.code != _BAD and trouble is not None:
        return source or trouble.origin, trouble.kind, trouble.words
    return doubt.code, signal if doubt.code == _BAD or not source else source


def _with_trouble(signals: Sequence[Signal], trouble: Trouble, origins: Sequence[str]) -> str:
    """`mqtt broker a:1883: connection refused, so parked isn't known: start the broker`."""
    what = trouble.words
    if not (origins[0].startswith("host ") or what.startswith(origins[0])):  # else the words name it already
        more = f" and {len(origins) - 1} more" if len(origins) > 1 else ""
        what = f"{origins[0]}{more}: {what}"
    verb = "isn't" if len(signals) == 1 else "aren't"
    advice = f": {trouble.advice}" if trouble.advice else ""
    return f"{what}, so {_listed(signals)} {verb} known{advice}"


def _shared_source(signal: Signal, config: SignalsConfig) -> str:
    """The broker of a topic, or the home of an entity; empty for a source that is one signal's alone."""
    match config.sources.get(signal):
        case MqttTopic() if config.mqtt is not None:
            return f"mqtt broker {config.mqtt.host}:{config.mqtt.port}"
        case Entity() if config.home_assistant is not None:
            return f"home assistant {config.home_assistant.shown_url}"
        case _:
            return ""


def _listed(signals: Sequence[Signal]) -> str:
    *first, last = map(str, signals)
    return f"{', '.join(first)} and {last}" if first else last
