"""One client of bench_chaos, as a process: it generates without pause and reports when every token came.

`python -m scripts.benchmarks.chaos.client PARAMETERS` prints events, lines of JSON with the time
(CLOCK_MONOTONIC, which all processes of a machine share). After a line on its standard input, the process
finishes the present generation and ends.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.client.generation import DistributedCausalLM
from p2pinfer.client.session import InferenceSession
from p2pinfer.errors import P2PInferError
from p2pinfer.model.engine.base import Hidden
from scripts.benchmarks.chaos.work import KEPT_CALLS
from scripts.benchmarks.shared.speech import Speech, listen


class Watch:
    """Watches the session that computes, and reports every token and every change of its hops."""

    def __init__(self, speech: Speech) -> None:
        self.session: InferenceSession | None = None
        self._speech = speech
        self._peers: list[str] = []
        compute = InferenceSession.compute

        def watched(session: InferenceSession, *arguments: Any) -> list[Hidden]:
            self.session = session
            states = compute(session, *arguments)
            self.look()
            return states

        InferenceSession.compute = watched  # type: ignore[assignment, method-assign]

    def look(self) -> None:
        """Report the peer ids of the hops if they have changed."""
        peers = [] if self.session is None else [str(hop.peer_id) for hop in self.session.report()]
        if peers != self._peers:
            self._peers = peers
            self.tell("hops", peers=peers)

    def tell(self, what: str, **words: Any) -> None:
        """Print one event with the present time."""
        self._speech.say(what=what, at=time.monotonic(), **words)


class Ticking(BaseStreamer):
    """A streamer: generate() first gives it the prompt, then the next token of all sequences at once."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._prompt_seen = False

    def put(self, value: Any) -> None:
        if self._prompt_seen:
            self._watch.tell("token")
        self._prompt_seen = True

    def end(self) -> None:
        pass


class Client:
    """Runs one task after the other."""

    def __init__(self, model: DistributedCausalLM, prompts: Sequence[list[int]], watch: Watch) -> None:
        self._model = model
        self._prompts = prompts
        self._watch = watch

    def do(self, task: dict[str, Any]) -> None:
        """Run one generation. An error is reported, and the next generation begins."""
        self._watch.tell("begin", **task)
        try:
            tokens = self._generate([self._prompts[index] for index in task["prompts"]], task)
        except P2PInferError as error:
            logging.getLogger("p2pinfer").exception("generation failed")
            self._watch.tell("failed", error=f"{type(error).__name__}: {error}", **self._counts())
        else:
            self._watch.tell("done", tokens=tokens, **self._counts())
        self._watch.look()

    def _generate(self, prompts: Sequence[list[int]], task: dict[str, Any]) -> list[list[int]]:
        """Return the new tokens of every prompt."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        new = task["tokens"] - longest
        if task["way"] != "kept":
            return self._call(ids, mask, new)[:, longest:].tolist()
        with self._model.inference_session(max_length=task["tokens"]):
            text = ids
            for call in range(KEPT_CALLS):
                share = new * (call + 1) // KEPT_CALLS - new * call // KEPT_CALLS
                text = self._call(text, torch.ones_like(text), share)
        return text[:, longest:].tolist()

    def _call(self, ids: torch.Tensor, mask: torch.Tensor, new: int) -> torch.Tensor:
        self._watch.tell("call")
        output: torch.Tensor = self._model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
            streamer=Ticking(self._watch),
        )
        return output

    def _counts(self) -> dict[str, int]:
        session = self._watch.session
        if session is None:
            return {"replayed": 0, "replaced": 0}
        return {"replayed": session.replayed_tokens, "replaced": session.replaced_hops}


def main() -> int:
    """Join the swarm and work until told to stop."""
    parameters = json.loads(sys.argv[1])
    speech = Speech()
    enough = threading.Event()
    listen(lambda words: enough.set())
    torch.set_num_threads(1)  # what torch does here is tiny, and the servers need the cores
    watch = Watch(speech)
    try:
        with AutoDistributedModelForCausalLM.from_pretrained(
            parameters["store"],
            initial_peers=parameters["initial_peers"],
            timeout=parameters.get("timeout", 60.0),
            cache_folder=parameters.get("cache_folder"),
        ) as model:
            model.generation_config.eos_token_id = None  # no text ends early
            client = Client(model, parameters["prompts"], watch)
            watch.tell("ready")
            for task in itertools.cycle(parameters["tasks"]):
                if enough.is_set():
                    break
                client.do(task)
        watch.tell("left")
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
