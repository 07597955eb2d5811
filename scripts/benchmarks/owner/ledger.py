"""Kill a server with SIGKILL at random moments while clients send it signed receipts, twenty times.

After every kill the server's ledger must open and be whole, and hold every receipt that the server has
acknowledged to a client. Only the unsigned tail may be lost, for which there was no receipt. After each
restart the server has the same identity and ledger. Ends with status 1 if something was lost.

With --flood it measures instead how many bytes strangers can write into a ledger for good, and how fast.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2pinfer.errors import P2PInferError
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.swarm import LocalSwarm, Place
from p2pinfer.model.source import open_model
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.types import PeerId, SessionId, Span
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import read_receipt
from scripts.benchmarks.owner.flood import as_json, run_floods, table
from scripts.benchmarks.shared.flags import at_least
from scripts.benchmarks.shared.free_port import free_port
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import machine, say, write_json

DOOR, VICTIM = 0, 1
RECEIPT_TOKENS = 256
PROMPT_TOKENS = 300
NEW_TOKENS = 24
READY_SECONDS = 60.0


class LostError(P2PInferError):
    """An acknowledged receipt is not in the ledger, or the ledger isn't whole."""


class Clients:
    """Clients that generate without pause, so that receipts come all the time; their servers may vanish."""

    def __init__(self, models: Sequence[Any]) -> None:
        self._models = models
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(model,), daemon=True) for model in models]
        self.answers = 0
        self.failed: list[str] = []
        for thread in self._threads:
            thread.start()

    def receipts(self) -> list[SignedReceipt]:
        """All receipts that servers have acknowledged so far."""
        return [receipt for model in self._models for receipt in model.receipts()]

    def close(self) -> None:
        """Let the clients finish their work."""
        self._stop.set()
        for thread in self._threads:
            thread.join(READY_SECONDS)

    def _work(self, model: Any) -> None:
        import torch

        generator = torch.Generator().manual_seed(7)
        while not self._stop.is_set():
            ids = torch.randint(0, model.config.vocab_size, (1, PROMPT_TOKENS), generator=generator)
            try:
                model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None)
                self.answers += 1
            except P2PInferError as error:
                self.failed.append(str(error))


def newest(receipts: Sequence[SignedReceipt], server: PeerId) -> dict[SessionId, int]:
    """By session, the number of the newest acknowledged receipt for that server."""
    found: dict[SessionId, int] = {}
    for signed in receipts:
        receipt = read_receipt(signed)
        if receipt.server == server:
            found[receipt.session_id] = max(receipt.sequence, found.get(receipt.session_id, 0))
    return found


def check_ledger(path: Path, acknowledged: dict[SessionId, int]) -> int:
    """How many sessions have receipts in the ledger. Raises LostError if one is missing."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        [(verdict,)] = connection.execute("PRAGMA integrity_check").fetchall()
    if verdict != "ok":
        raise LostError(f"the ledger isn't whole: {verdict}")
    with Ledger.open(path) as ledger:
        receipts = (read_receipt(signed) for signed in ledger.newest_receipts())
        kept = {receipt.session_id: receipt.sequence for receipt in receipts}
    for session_id, sequence in acknowledged.items():
        if kept.get(session_id, 0) < sequence:
            raise LostError(f"receipt {sequence} of session {session_id.hex()} was acknowledged, and is lost")
    return len(kept)


def measure(kills: int, seed: int) -> dict[str, Any]:
    """Run the benchmark and return everything that is printed. Raises LostError."""
    # Imported here: it loads torch, which takes seconds that --help doesn't need.
    from p2pinfer import AutoDistributedModelForCausalLM

    chance = random.Random(seed)
    cache = user_cache_folder()
    model_file = fetch_model_file(SMOLLM2, cache, progress=say)
    store = str(open_model(str(model_file), cache_folder=cache, progress=say).folder)
    sessions: list[int] = []
    with LocalSwarm() as swarm, contextlib.ExitStack() as stack:
        swarm.start(
            store,
            [Span(0, 1), Span(0, 30)],
            threads=1,
            server_arguments=("--receipt-tokens", str(RECEIPT_TOKENS)),
            places=[Place(dht_port=free_port()), Place()],
        )
        ledger = OwnerFiles(swarm.data_folder(VICTIM)).ledger
        models = [
            stack.enter_context(
                AutoDistributedModelForCausalLM.from_pretrained(store, initial_peers=swarm.initial_peers)
            )
            for _ in range(2)
        ]
        clients = Clients(models)
        try:
            for number in range(1, kills + 1):
                time.sleep(chance.uniform(0.2, 3.0))
                swarm.kill(VICTIM)
                acknowledged = newest(clients.receipts(), swarm.peer_ids[VICTIM])
                sessions.append(check_ledger(ledger, acknowledged))
                say(f"kill {number}: {len(acknowledged)} sessions acknowledged, {sessions[-1]} in the ledger")
                swarm.restart(VICTIM).wait_ready(time.monotonic() + READY_SECONDS)
        finally:
            clients.close()
    return {
        "machine": machine(),
        "kills": kills,
        "sessions": sessions,
        "answers": clients.answers,
        "failed": clients.failed,
    }


def main() -> int:
    """Run the benchmark, print the results, write the JSON file."""
    parser = argparse.ArgumentParser(prog="scripts/bench_ledger", description=__doc__)
    parser.add_argument("--kills", type=at_least(1), default=20, metavar="N", help="(20)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the moments (1)")
    parser.add_argument("--json", type=Path, default=Path("build/bench_ledger.json"), metavar="FILE")
    parser.add_argument("--flood", action="store_true", help="measure how fast a ledger can be filled")
    flags = parser.parse_args()

    def flood() -> int:
        floods = run_floods()
        write_json(flags.json, {"machine": machine(), "floods": as_json(floods)})
        print(table(floods))
        return 0

    def work() -> int:
        measured = measure(flags.kills, flags.seed)
        write_json(flags.json, measured)
        sessions, answers, failed = measured["sessions"][-1], measured["answers"], len(measured["failed"])
        print(
            f"{measured['kills']} kills: the ledger opened each time, whole, with every receipt that was "
            f"acknowledged ({sessions} sessions at the end); {answers} answers came out meanwhile, "
            f"{failed} failed"
        )
        return 0

    return status_of("bench_ledger", flood if flags.flood else work)


if __name__ == "__main__":
    sys.exit(main())
