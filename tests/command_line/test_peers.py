"""`--initial-peers` takes what people paste, and says what is expected otherwise."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.command_line.peers import add_initial_peers, peer_addresses
from p2pinfer.command_line.program import Parser

ONE = "/ip4/192.0.2.7/tcp/31330/p2p/12D3KooWA"
TWO = "/ip6/2001:db8::7/udp/31330/quic-v1/p2p/12D3KooWB"
THROUGH = f"{ONE}/p2p-circuit/p2p/12D3KooWC"


def parse(*arguments: str) -> argparse.Namespace:
    parser = Parser(prog="python -m p2pinfer.test")
    parser.add_argument("model", nargs="?")
    add_initial_peers(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (ONE, TWO),
        (f"{ONE} {TWO}",),
        (f"{ONE},{TWO}",),
        (f"{ONE}, {TWO},",),
        (f"{ONE},", TWO),
        (f"\n  {ONE}\n  {TWO}\n",),
        (f"{ONE}\r\n{TWO}\r\n",),
        (f"'{ONE}'", f'"{TWO}"'),
        (f"['{ONE}', '{TWO}']",),
        (f"--initial-peers {ONE} {TWO}",),
        (f"--initial-peers={ONE} {TWO}",),
        ("--initial-peers", ONE, TWO),
        (f"join this swarm: --initial-peers {ONE} {TWO}",),
        (f'"--initial-peers {ONE} {TWO}"',),
        (ONE, TWO, ONE),
        (f"\u201c{ONE}\u201d", f"\u2018{TWO}\u2019"),
        (f"\u00ab{ONE}\u00bb", f"\u201e{TWO}\u201c"),
        (f"<{ONE}>", f"<{TWO}>"),
        (f"`{ONE}`", f"{{{TWO}}}"),
        (f"\ufeff{ONE}", f"{TWO}\u200b"),
        (f"\u200e{ONE}\xa0{TWO}",),
        (f"\x1b[32m{ONE}\x1b[0m {TWO}",),
        (f"\x1b[1;38;5;208mjoin this swarm:\x1b[0m --initial-peers {ONE} {TWO}",),
        (f"\u2014initial-peers {ONE} {TWO}",),
        (f"{ONE} \\\n  {TWO}",),
        (f"{ONE}/", f"{TWO}."),
    ],
)
def test_what_people_paste_is_understood(arguments: tuple[str, ...]):
    """Blanks, line breaks, commas, quotes, and the flag or the whole line of another terminal in front."""
    assert parse("model", "--initial-peers", *arguments).initial_peers == (ONE, TWO)


def test_an_address_through_a_relay_is_one_too():
    assert peer_addresses([THROUGH]) == (THROUGH,)


def test_without_the_flag_there_are_no_peers():
    assert parse("model").initial_peers == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no address is given: expected one such as /ip4/"),
        (" , ", "no address is given"),
        ("--initial-peers", "expected at least one argument"),
        ("192.0.2.7:31330", "'192.0.2.7:31330' isn't a peer's address: expected one such as /ip4/"),
        ("HuggingFaceTB/SmolLM2", "isn't a peer's address"),
        ("/ip4/192.0.2.7/tcp/31330", "the peer id is missing at its end, as in /ip4/"),
        ("/ip4/192.0.2.7/tcp/31330/p2p/", "isn't a peer's address"),
        ("//p2p/x", "isn't a peer's address"),
        ("\x1b[2J" + "x" * 1000, "'xxx"),
        ("\x1b(0" + "x" * 1000, r"'\x1b(0xxx"),
        ("/ip4/192.0.2.7/tcp/31330/p2p/12D3Koo...", "12D3Koo...' was cut off: copy the whole address"),
        ("/ip4/192.0.2.7/tcp/31330/p2p/12D3Koo\u2026", "was cut off"),
        ("<ADDRESS>", "'ADDRESS' isn't a peer's address: expected one such as /ip4/"),
    ],
)
def test_anything_else_is_one_line_with_what_is_expected(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        parse("model", "--initial-peers", text)

    wrong, hint = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert wrong.startswith("p2pinfer.test: argument --initial-peers: ") and message in wrong
    assert len(wrong) < 300 and "\x1b" not in wrong
    assert hint == "Try: python -m p2pinfer.test --help"


@given(st.text())
def test_any_text_is_addresses_or_a_value_error(text: str):
    try:
        addresses = peer_addresses([text])
    except ValueError:
        return
    assert addresses and all(address.startswith("/") and "/p2p/" in address for address in addresses)
