"""The client of bench_reach, as a process at a home of its own: it answers prompts, and tells each token.

`python -m scripts.benchmarks.reach.client PARAMETERS` joins the swarm, says so, and reads requests, lines of
JSON. Times are those of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import time
from typing import Any

import numpy as np

from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.client.session import HopReport, InferenceSession
from p2pinfer.errors import P2PInferError
from scripts.benchmarks.shared.speech import Speech, listen


def way_of(hop: HopReport) -> str | None:
    """How this hop is reached, None where nobody knows."""
    way = getattr(hop, "way", None)
    return None if way is None else str(way)


def answer(speech: Speech, remote: RemoteModel, prompt: list[int], tokens: int) -> None:
    """Tell the likeliest next tokens one by one, then that this is all."""
    row = list(prompt)
    session: InferenceSession
    with remote.session(len(prompt) + tokens) as session:
        for _ in range(tokens):
            (states,) = session.compute([row], [1])
            row.append(int(np.argmax(remote.ends.logits(states)[-1])))
            hops = session.report()
            speech.say(
                what="token",
                at=time.monotonic(),
                ways=[way_of(hop) for hop in hops],
                peers=[str(hop.peer_id) for hop in hops],
            )
        speech.say(
            what="done",
            tokens=row[len(prompt) :],
            replaced=session.replaced_hops,
            replayed=session.replayed_tokens,
        )


def main() -> int:
    """Join, then answer until the standard input ends."""
    parameters: dict[str, Any] = json.loads(sys.argv[1])
    speech = Speech()
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    listen(requests.put)
    try:
        with RemoteModel.open(parameters["store"], initial_peers=parameters["initial_peers"]) as remote:
            speech.say(what="joined", at=time.monotonic())
            while True:
                request = requests.get()
                try:
                    answer(speech, remote, request["prompt"], request["tokens"])
                except P2PInferError as error:
                    logging.getLogger("p2pinfer").exception("no answer")
                    speech.say(what="failed", error=f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
