"""Which signal comes from which source: the checked content of the owner's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pinfer.outside.url_secrets import masked
from p2pinfer.owner.signals.readings import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """How the text of a source becomes the value of a signal."""

    true_when: tuple[str, ...] = ()  # for a bool: these texts mean true, all other answers false
    false_when: tuple[str, ...] = ()  # for a bool: these texts mean false, all other answers true
    names: tuple[str, ...] = ()  # for a text: these names count although they look like "I don't know"
    scale: float = 1.0  # for a number: it is multiplied by this
    offset: float = 0.0  # for a number: this is added afterwards
    json_path: tuple[str, ...] = ()  # the text is JSON, and this is the path to the value
    called: str = ""  # for messages, the name of what the source tells: `gear`
    max_age_seconds: float | None = None
    """An older message doesn't count. None: a message counts for as long as its source can be reached, which
    is right for sources that publish changes only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTopic:
    """The signal is the message of an MQTT topic."""

    topic: str
    meaning: Meaning = field(default_factory=Meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """The signal is the state, or an attribute, of an entity of Home Assistant."""

    entity_id: str
    attribute: str = ""  # empty: the state
    meaning: Meaning = field(default_factory=Meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileText:
    """The signal is the text in a file."""

    path: str
    meaning: Meaning = field(default_factory=Meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The signal is the output of a program, which is run again and again."""

    arguments: tuple[str, ...]
    every_seconds: float = 10.0
    timeout_seconds: float = 5.0
    meaning: Meaning = field(default_factory=Meaning)

    @property
    def shown(self) -> str:
        """The command for people, without passwords in addresses."""
        return masked(" ".join(self.arguments))


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The signal is something that this machine knows of itself."""

    idle_seconds: float = 300.0  # for in_use: after this time without input nobody uses the machine


Source = MqttTopic | Entity | FileText | Command | Host


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttBroker:
    """The broker of all MQTT topics."""

    host: str
    port: int = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeAssistant:
    """The Home Assistant of all entities."""

    url: str = field(repr=False)  # http://homeassistant.local:8123; may hold a password
    token: str = field(repr=False)

    @property
    def shown_url(self) -> str:
        """The address for people, without a password."""
        return masked(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsConfig:
    """All sources, and how to reach them."""

    sources: Mapping[Signal, Source] = field(default_factory=dict)
    mqtt: MqttBroker | None = None
    home_assistant: HomeAssistant | None = None
    exclusive_programs: tuple[str, ...] = ()  # the names that the signal `program` looks for
    poll_seconds: float = 2.0  # between looks at this machine and at files
