"""What users type: hosts with their commands, and the lines that control a running lab."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from p2pinfer.errors import UsageError
from scripts.lab.homes.kinds import RouterKind
from scripts.lab.hosts import NAME
from scripts.lab.links import PROFILES, Direction, Link

HELP = """  cut NAME [up|down]     nothing passes that NAME sends (up) or receives (down); no host is told
  heal NAME [up|down]    undo that
  shape NAME PROFILE     give NAME another link
  reboot NAME            NAME's router is off for a second, forgets its mappings, and gets another address
  counters               what passed and what was dropped, by host
  quit                   end all commands and the lab"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """One `--host`."""

    name: str
    link: Link
    router: RouterKind
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """`cut` or `heal`."""

    name: str
    direction: Direction
    heal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`shape`."""

    name: str
    link: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot:
    """`reboot`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """`counters`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quit:
    """`quit`."""


Order = Cut | Shape | Reboot | Count | Quit


def parse_profile(name: str) -> Link:
    """A profile by its name. Raises UsageError with a list of all profiles."""
    try:
        return PROFILES[name]
    except KeyError as error:
        raise UsageError(f"there is no profile {name!r}; there are: {', '.join(PROFILES)}") from error


def parse_kind(name: str) -> RouterKind:
    """A kind of router by its name. Raises UsageError with a list of all kinds."""
    try:
        return RouterKind(name)
    except ValueError as error:
        kinds = ", ".join(kind.value for kind in RouterKind)
        raise UsageError(f"there is no kind of router {name!r}; there are: {kinds}") from error


def parse_host(text: str, default: str) -> HostSpec:
    """Read NAME[:PROFILE][@KIND]=COMMAND. Raises UsageError."""
    left, equals, command = text.partition("=")
    place, at, kind = left.partition("@")
    name, colon, profile = place.partition(":")
    if not equals or not command.strip():
        raise UsageError(f"{text!r} names no command: write --host NAME[:PROFILE][@KIND]='COMMAND'")
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a host: use letters, digits, '.', '_' and '-'")
    return HostSpec(
        name=name,
        link=parse_profile(profile if colon else default),
        router=parse_kind(kind) if at else RouterKind.NONE,
        command=command,
    )


def parse_hosts(texts: Sequence[str], default: str) -> list[HostSpec]:
    """Read every `--host`. Raises UsageError, also for two names that give the same environment variable."""
    hosts = [parse_host(text, default) for text in texts]
    variables: dict[str, str] = {}
    for host in hosts:
        variable = address_variable(host.name)
        if variable in variables:
            raise UsageError(f"{variables[variable]!r} and {host.name!r} are too much alike: rename one host")
        variables[variable] = host.name
    return hosts


def parse_order(line: str) -> Order | None:
    """Read one line of standard input; an empty line gives None. Raises UsageError."""
    match line.split():
        case []:
            return None
        case ["quit"]:
            return Quit()
        case ["counters"]:
            return Count()
        case ["shape", name, profile]:
            return Shape(name=name, link=parse_profile(profile))
        case ["reboot", name]:
            return Reboot(name=name)
        case [("cut" | "heal") as verb, name]:
            return Cut(name=name, direction=Direction.BOTH, heal=verb == "heal")
        case [("cut" | "heal") as verb, name, ("up" | "down" | "both") as direction]:
            return Cut(name=name, direction=Direction(direction), heal=verb == "heal")
    raise UsageError(f"{line.strip()!r} is none of these:\n{HELP}")


def address_variable(name: str) -> str:
    """The variable of a host's address: LAB_ADDRESS_CAR_1 for car-1."""
    return "LAB_ADDRESS_" + re.sub(r"\W", "_", name).upper()


def fill_in(command: str, addresses: Mapping[str, str]) -> str:
    """The command with {NAME} replaced by that host's address; other braces stay as they are."""
    for name, address in addresses.items():
        command = command.replace("{" + name + "}", address)
    return command


def environment(own: str, addresses: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: LAB_ADDRESS, and LAB_ADDRESS_NAME for every host."""
    return {"LAB_ADDRESS": addresses[own]} | {
        address_variable(name): address for name, address in addresses.items()
    }
