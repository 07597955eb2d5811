"""An honest client of bench_hostile, as a process: it generates without pause, and tells each token.

`python -m scripts.benchmarks.hostile.honest PARAMETERS` waits for a line on its standard input before it
joins. With a key of its own it signs for what it gets, as every client does. Times are CLOCK_MONOTONIC's.
"""

from __future__ import annotations

import json
import queue
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

import p2pinfer.client.reach.grpc_carrier as carrier_module
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.errors import P2PInferError
from p2pinfer.wire.status import Refused, refusal_of
from scripts.benchmarks.shared.speech import Speech, listen

TOKENS = 64
"""Of one answer. Then comes the next, in a new session: whoever has a session isn't asked at the door."""


class Ear:
    """Counts the refusals that the client hears, by reason: it deals with most of them by itself."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()

        def refusal(error: Any) -> Refused | None:
            refused = refusal_of(error)
            if refused is not None:
                self.heard[str(refused.reason)] += 1
            return refused

        carrier_module.refusal_of = refusal  # type: ignore[attr-defined]


def generate(speech: Speech, remote: RemoteModel, prompt: list[int], tokens: int, ear: Ear) -> None:
    """One answer, and an event for each of its tokens."""
    row = list(prompt)
    speech.say(what="asked", at=time.monotonic())
    try:
        with remote.session(len(prompt) + tokens) as session:
            for _ in range(tokens):
                (states,) = session.compute([row], [1])
                row.append(int(np.argmax(remote.ends.logits(states)[-1])))
                speech.say(what="token", at=time.monotonic())
    except P2PInferError as error:
        speech.say(what="failed", at=time.monotonic(), error=f"{type(error).__name__}: {error}"[:2000])
        time.sleep(0.2)  # as any program that tries again
    else:
        speech.say(what="done", at=time.monotonic(), tokens=row[len(prompt) :])
    speech.say(what="heard", refusals=dict(ear.heard))


def main() -> int:
    """Join when told to, then generate until the standard input ends."""
    parameters: dict[str, Any] = json.loads(sys.argv[1])
    speech = Speech()
    words: queue.Queue[dict[str, Any]] = queue.Queue()
    listen(words.put)
    ear = Ear()
    speech.say(what="ready")
    try:
        words.get()
        began = time.monotonic()
        while True:
            try:
                with RemoteModel.open(
                    parameters["store"], initial_peers=parameters["initial_peers"]
                ) as remote:
                    speech.say(what="joined", at=time.monotonic(), seconds=time.monotonic() - began)
                    while True:
                        generate(speech, remote, parameters["prompt"], parameters["tokens"], ear)
            except P2PInferError as error:
                speech.say(
                    what="failed", at=time.monotonic(), error=f"{type(error).__name__}: {error}"[:2000]
                )
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
