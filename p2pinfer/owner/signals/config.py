"""Which signals come from where: what the owner's file says of it, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pinfer.owner.signals.readings import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """How a source's text becomes the signal's value."""

    true_when: tuple[str, ...] = ()  # of a bool: these texts mean true, all others false
    false_when: tuple[str, ...] = ()  # of a bool: these texts mean false, all others true
    scale: float = 1.0  # of a number: multiplied by it
    offset: float = 0.0  # of a number: added afterwards
    json_path: tuple[str, ...] = ()  # the text is JSON, and what is meant lies there
    called: str = ""  # for people, what the source tells: `gear`
    max_age_seconds: float | None = None
    """What the source published longer ago doesn't count. None: it counts for as long as the source
    itself can be reached, which is right for whoever publishes only changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTopic:
    """A signal is what is published there."""

    topic: str
    meaning: Meaning = field(default_factory=Meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A signal is the state, or an attribute, of an entity of Home Assistant."""

    entity_id: str
    attribute: str = ""  # empty: the state
    meaning: Meaning = field(default_factory=Meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileText:
    """A signal is what stands in a file."""

    path: str
    meaning: Meaning = field(default_factory=Meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A signal is what a program prints, which is run again and again."""

    arguments: tuple[str, ...]
    every_seconds: float = 10.0
    timeout_seconds: float = 5.0
    meaning: Meaning = field(default_factory=Meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A signal is what this machine says of itself."""

    idle_seconds: float = 300.0  # for in_use: without input for so long nobody uses the machine


Source = MqttTopic | Entity | FileText | Command | Host


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttBroker:
    """The broker that MQTT topics are read from."""

    host: str
    port: int = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeAssistant:
    """Where entities are read from."""

    url: str  # http://homeassistant.local:8123
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsConfig:
    """Everything that is to be listened to."""

    sources: Mapping[Signal, Source] = field(default_factory=dict)
    mqtt: MqttBroker | None = None
    home_assistant: HomeAssistant | None = None
    exclusive_programs: tuple[str, ...] = ()  # whose names the signal `program` of Host looks for
    poll_seconds: float = 2.0  # of this machine and of files
