"""`--initial-peers`: the addresses through which a program joins a swarm, as people paste them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

FLAG = "--initial-peers"
EXAMPLE = "/ip4/192.0.2.7/tcp/31330/p2p/12D3Koo..."

_INVISIBLE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours of a terminal
    "|[\ufeff\u200b-\u200f\u2060\u00ad]"  # a byte order mark, blanks without width, marks of direction
)
_LINE_BREAK_OF_A_SHELL = re.compile(r"\\(?=\s|$)")
_PASTED_IN_FRONT = re.compile(
    r"^(?:(?:join this swarm:|(?:--|[\u2010-\u2015]|\u2212)initial-peers[= ]?)\s*)+"  # a dash: text programs
)
_AROUND = "\"'`[](),;<>{}\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb\u2039\u203a"
_ADDRESS = re.compile(r"(?:/[^/\s]+)+/p2p/[^/\s]+")
_MOST_SHOWN = 100


def add_initial_peers(
    group: argparse._ActionsContainer,
    *,
    flag: str = FLAG,
    dest: str = "initial_peers",
    required: bool = False,
    purpose: str = "join the swarm of these peers: copy what one of them printed after `join this swarm`",
) -> None:
    """Add a flag for addresses of peers. The namespace gets them as a tuple, empty without the flag."""
    group.add_argument(
        flag,
        dest=dest,
        nargs="+",
        action=_PeerAddresses,
        default=(),
        required=required,
        metavar="ADDRESS",
        help=purpose,
    )


def peer_addresses(texts: Iterable[str]) -> tuple[str, ...]:
    """The addresses in `texts`, in their order, each once.

    Blanks, line breaks, commas, quotes, brackets, a full stop at the end, colours, invisible characters, and
    the words `join this swarm: --initial-peers` in front are forgiven. Raises ValueError, which names what is
    expected, for anything else that is no address with a peer id, and if there is none at all. Whether such
    an address can exist is checked when joining.
    """
    found: dict[str, None] = {}
    for text in texts:
        visible = _LINE_BREAK_OF_A_SHELL.sub("", _INVISIBLE.sub("", text))
        for word in re.split(r"[\s,]+", _PASTED_IN_FRONT.sub("", visible.strip(_AROUND + " \t\r\n"))):
            address = re.sub(r"(?<=\w)(?<!/p2p)/$", "", word.strip(_AROUND + ".:"))
            if not address:
                continue
            if "..." in word or "\u2026" in word:
                raise ValueError(f"{_shown(word)} was cut off: copy the whole address, such as {EXAMPLE}")
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"{_shown(address)} isn't {_expected(address)}")
            found[address] = None
    if not found:
        raise ValueError(f"no address is given: expected one such as {EXAMPLE}")
    return tuple(found)


def without_doubled_flag(arguments: Sequence[str]) -> list[str]:
    """`arguments`, where `--initial-peers --initial-peers` counts once: the second was pasted."""
    return [
        argument
        for argument, after in zip_longest(arguments, arguments[1:], fillvalue="")
        if argument != FLAG or not (after == FLAG or after.startswith(f"{FLAG}="))
    ]


class _PeerAddresses(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            addresses = peer_addresses([values] if isinstance(values, str) else values or ())
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from error
        setattr(namespace, self.dest, addresses)


def _expected(address: str) -> str:
    if address.startswith("/") and "/p2p/" not in address:
        return f"complete: the peer id is missing at its end, as in {EXAMPLE}"
    return f"a peer's address: expected one such as {EXAMPLE}"


def _shown(address: str) -> str:
    return repr(address if len(address) <= _MOST_SHOWN else f"{address[: _MOST_SHOWN - 1]}…")
