"""The leaderboard counts countersigned work, each session once, and survives hostile bundles."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.health.kept import contributions as module
from p2pinfer.health.kept.contributions import Contributions
from p2pinfer.health.snapshot.source import Submission
from p2pinfer.identity import Identity
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.statement.bundle import HEADER, write_bundle
from p2pinfer.types import PeerId, SessionId, Span
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Work, sign_receipt
from tests.health.states import HOSTILE_TEXTS
from tests.owner.signing import CLIENT, NOW, SERVER, STRANGER, chain, receipt, signed

SESSIONS = [SessionId(bytes([number] * 16)) for number in range(8)]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Contributions]:
    with Contributions.open(tmp_path / "contributions.sqlite") as opened:
        yield opened


def bundle(*receipts: SignedReceipt) -> io.BytesIO:
    """As `export` writes it."""
    text = io.StringIO()
    write_bundle(text, receipts)
    return io.BytesIO(text.getvalue().encode())


def figures(board: Contributions) -> dict[str, tuple[int, int, int]]:
    """Layer-tokens of prompts and answers, and sponsors, by peer id."""
    return {
        view.peer_id: (view.prefill_layer_tokens, view.decode_layer_tokens, view.sponsors)
        for view in board.views({})
    }


def test_work_counts_by_layers(board: Contributions):
    """Ten and five tokens through ten layers."""
    assert board.submit(bundle(signed(receipt(10, 5)))) == Submission(1, 0, ())
    assert figures(board) == {SERVER.peer_id: (100, 50, 1)}


def test_the_newest_receipt_of_a_session_counts(board: Contributions):
    """Receipts are cumulative: in any order, the same work counts once."""
    first, second, third = chain(Work(10, 1), Work(10, 5), Work(10, 9))

    assert board.submit(bundle(second, first)) == Submission(1, 1, ())
    assert board.submit(bundle(second, third, third)) == Submission(1, 2, ())
    assert figures(board) == {SERVER.peer_id: (100, 90, 1)}


def test_sessions_and_clients_add_up(board: Contributions):
    """A second client is a second sponsor; a second session of the first isn't."""
    others = [
        signed(receipt(session_id=SESSIONS[1])),
        signed(receipt(session_id=SESSIONS[2], client=STRANGER.public_key), client=STRANGER),
    ]
    board.submit(bundle(signed(receipt()), *others))

    assert figures(board) == {SERVER.peer_id: (300, 150, 2)}


def test_most_work_comes_first_under_public_names(board: Contributions):
    """Names are cleaned as elsewhere on the page; a server outside the swarm has no name."""
    other = Identity.ephemeral()
    small, large = signed(receipt()), signed(receipt(99, 99, server=other.peer_id), server=other)
    board.submit(bundle(small, large))
    views = board.views({other.peer_id: "\x1b[31mFirst\u202e" + "x" * 1000})

    assert [view.peer_id for view in views] == [other.peer_id, SERVER.peer_id]
    assert views[0].public_name.startswith("?[31mFirst?xxx") and len(views[0].public_name) == 64
    assert views[1].public_name == ""
    assert views[1].short_id == f"…{SERVER.peer_id[-6:]}"


def test_expired_receipts_count(board: Contributions):
    """No sponsor pays for them any more, but the work was done."""
    assert board.submit(bundle(signed(receipt(issued_at=1.0, expires_at=2.0)))).taken == 1


def test_what_export_writes_is_taken(board: Contributions, tmp_path: Path):
    """From a ledger to the board, by a file."""
    with Ledger.open(tmp_path / "ledger.sqlite", now=lambda: NOW) as ledger:
        assert ledger.add_receipts(chain(Work(1, 1), Work(1, 2))) == [None, None]
        path = tmp_path / "receipts.txt"
        with path.open("w") as file:
            write_bundle(file, ledger.newest_receipts())

    assert board.submit(path) == Submission(1, 0, ())
    assert board.submit(path) == Submission(0, 1, ())


def test_the_board_outlives_the_process(tmp_path: Path):
    for expected in (Submission(1, 0, ()), Submission(0, 1, ())):
        with Contributions.open(tmp_path / "c.sqlite") as board:
            assert board.submit(bundle(signed(receipt()))) == expected
            assert len(board.views({})) == 1


def altered(good: SignedReceipt, **changes: bytes) -> SignedReceipt:
    fields = {
        "receipt": good.receipt,
        "client_signature": good.client_signature,
        "server_signature": good.server_signature,
    }
    return SignedReceipt(**(fields | changes))


SELF = signed(receipt(client=SERVER.public_key), client=SERVER)
REFUSED = {
    "not signed by the client": altered(signed(receipt()), client_signature=bytes(64)),
    "signed by another client": signed(receipt(), client=STRANGER),
    "not countersigned": sign_receipt(receipt(), CLIENT),
    "countersigned by another": signed(receipt(), server=STRANGER),
    "changed": altered(signed(receipt()), receipt=signed(receipt(99)).receipt),
    "signed for itself": SELF,
    "no server": signed(receipt(server=PeerId("12D3KooWNobody"))),
    "a server with blanks": signed(receipt(server=PeerId(f"{SERVER.peer_id} "))),
    "no model": signed(receipt(model="<script>")),
    "a billion layers": signed(receipt(layers=Span(0, 2**20))),
    "more than can be": signed(receipt(2**61, 2**61)),
    "no work": signed(receipt(0, 0)),
    "nothing": SignedReceipt(),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_receipt_that_proves_nothing_is_refused(board: Contributions, why: str):
    good = signed(receipt(session_id=SESSIONS[3]))
    submission = board.submit(bundle(REFUSED[why], good))

    assert (submission.taken, submission.known) == (1, 0)
    [reason] = submission.refused
    assert reason.startswith("line 2: ") and len(reason) > 12
    assert figures(board) == {SERVER.peer_id: (100, 50, 1)}


@pytest.mark.parametrize(
    "contradiction",
    [
        signed(receipt(99, 99, sequence=2, layers=Span(0, 20))),
        signed(receipt(99, 99, sequence=2, model="b" * 64)),
        signed(receipt(99, 99, sequence=2, client=STRANGER.public_key), client=STRANGER),
        signed(receipt(9, 99, sequence=2)),
    ],
    ids=["layers", "model", "client", "less"],
)
def test_a_receipt_that_contradicts_its_session_is_refused(
    board: Contributions, contradiction: SignedReceipt
):
    submission = board.submit(bundle(signed(receipt()), contradiction))

    assert (submission.taken, len(submission.refused)) == (1, 1)
    assert figures(board) == {SERVER.peer_id: (100, 50, 1)}


def test_only_the_first_reasons_are_told(board: Contributions):
    submission = board.submit(bundle(*[SELF] * 40))

    assert len(submission.refused) == 11
    assert submission.refused[-1] == "and 30 more"


def test_there_is_an_end_to_what_one_bundle_holds(board: Contributions, monkeypatch: pytest.MonkeyPatch):
    """The rest belongs in another bundle; bad lines count as well."""
    monkeypatch.setattr(module, "MAX_LINES_AT_ONCE", 3)
    receipts = [signed(receipt(session_id=session)) for session in SESSIONS]
    submission = board.submit(bundle(SELF, *receipts))

    assert submission.taken == 2
    assert "only the first 3 receipts" in submission.refused[-1]
    assert board.submit(bundle(*receipts[:3])) == Submission(1, 2, ())


def test_a_full_board_goes_on_with_the_sessions_it_knows(tmp_path: Path):
    first, second = chain(Work(1, 1), Work(1, 2))
    with Contributions.open(tmp_path / "c.sqlite", most_sessions=1) as board:
        submission = board.submit(bundle(first, signed(receipt(session_id=SESSIONS[5])), second))

        assert submission.taken == 2
        assert submission.refused == ("line 3: this leaderboard is full",)
        assert figures(board) == {SERVER.peer_id: (10, 20, 1)}


def test_the_board_has_a_hundred_lines(board: Contributions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_VIEWS", 3)
    servers = [Identity.ephemeral() for _ in range(5)]
    board.submit(
        bundle(
            *[
                signed(receipt(number, 1, server=one.peer_id), server=one)
                for number, one in enumerate(servers)
            ]
        )
    )

    assert [view.peer_id for view in board.views({})] == [one.peer_id for one in servers[:1:-1]]


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"\x00" * 100, HEADER.encode()[:-1], b"x" * 10**6], ids=range(5)
)
def test_what_is_no_bundle_is_said_to_be_none(board: Contributions, data: bytes):
    with pytest.raises(UsageError, match="this file is not a bundle"):
        board.submit(io.BytesIO(data))


def test_a_file_that_is_not_there_is_named(board: Contributions, tmp_path: Path):
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        board.submit(tmp_path / "nowhere.txt")


lines = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([text[:500] for text in HOSTILE_TEXTS]).map(
        lambda text: json.dumps({"receipt": text, "client_signature": "", "server_signature": ""}).encode()
    ),
    st.just(b"[" * 5000),
    st.just(b"x" * 20_000),
)


@given(st.lists(lines, max_size=12))
@settings(max_examples=15)
def test_a_hostile_bundle_is_refused_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, data: list[bytes]
):
    """No error is raised, every reason is a short line, and the good receipt after it is taken."""
    good = bundle(signed(receipt())).getvalue().split(b"\n")[1]
    hostile = b"\n".join([HEADER.encode(), *data, good])
    with Contributions.open(tmp_path_factory.mktemp("board") / "c.sqlite") as board:
        submission = board.submit(io.BytesIO(hostile))

    assert submission.taken == 1
    assert all(reason.isprintable() and len(reason) <= 200 for reason in submission.refused)


def test_the_board_is_read_while_a_bundle_is_taken(board: Contributions):
    """From the event loop, while a thread checks signatures."""
    receipts = [signed(receipt(session_id=SessionId(number.to_bytes(16, "big")))) for number in range(300)]
    submissions: list[Submission] = []
    taking = threading.Thread(target=lambda: submissions.append(board.submit(bundle(*receipts))))
    taking.start()
    seen = {0}
    while taking.is_alive():
        seen.add(sum(view.decode_layer_tokens for view in board.views({})))
    taking.join()

    assert submissions == [Submission(300, 0, ())]
    assert figures(board) == {SERVER.peer_id: (30_000, 15_000, 1)}
    assert seen <= {0, 12_800, 15_000}  # by batches, never half of one


def test_a_damaged_board_is_set_aside(tmp_path: Path):
    """Owners can send their receipts again."""
    (tmp_path / "c.sqlite").write_bytes(b"no more")
    with Contributions.open(tmp_path / "c.sqlite") as board:
        assert board.views({}) == []

    assert (tmp_path / "c.sqlite.damaged-1").read_bytes() == b"no more"
