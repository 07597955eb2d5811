"""`python -m p2pinfer.local_swarm`: a swarm on this machine answers one question, for scripts/quickstart."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from p2pinfer.errors import P2PInferError
from p2pinfer.local_swarm.config import DemoConfig
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.processes import LocalSwarm, ServerProcess
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.types import Span


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when an answer came, 1 when it could not, 128 + signal when it was stopped."""
    config = DemoConfig.from_args(argv)
    _quiet_libraries()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)
    try:
        run(config)
    except P2PInferError as error:
        print(f"p2pinfer.local_swarm: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # nobody reads on, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        say("\nstopped")
        return 128 + signal.SIGINT
    return 0


def run(config: DemoConfig) -> None:
    """Model, swarm, answer. Whatever was started has ended when this returns or raises."""
    from p2pinfer.model.source import open_model

    source = config.model or str(fetch_model_file(SMOLLM2, config.cache_folder, progress=say))
    store = open_model(source, cache_folder=config.cache_folder, progress=say)
    manifest = store.manifest
    spans = split_layers(manifest.num_layers, config.num_peers)
    with LocalSwarm() as swarm:
        peers = "one peer with all" if len(spans) == 1 else f"{len(spans)} peers, each with a share of the"
        say(f"starting {peers} {manifest.num_layers} layers")
        swarm.launch(store.folder, spans)
        say("loading the client meanwhile")
        from p2pinfer.local_swarm.answer import stream_answer  # it imports torch and transformers

        swarm.wait_ready(_report_ready)
        stream_answer(
            store,
            swarm.initial_peers,
            config.prompt,
            max_new_tokens=config.max_new_tokens,
            wire_dtype=config.wire_dtype,
            say=say,
        )
        if config.keep:
            say(joining_help(str(store.folder), swarm.initial_peers, Span(0, manifest.num_layers)))
            _wait_for_the_end(swarm)


def joining_help(model: str, initial_peers: Sequence[str], layers: Span) -> str:
    """How another terminal joins the swarm, ready to be copied."""
    python = shlex.quote(sys.executable)
    peers = " ".join(initial_peers)
    return f"""
The swarm stays up until Ctrl-C. From another terminal, join it

as a server:
  {python} -m p2pinfer.server {shlex.quote(model)} --layers {layers} --initial-peers {peers}

as a client, in {python}:
  from transformers import AutoTokenizer
  from p2pinfer import AutoDistributedModelForCausalLM
  tokenizer = AutoTokenizer.from_pretrained({model!r})
  model = AutoDistributedModelForCausalLM.from_pretrained({model!r}, initial_peers={list(initial_peers)!r})
  ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
  print(tokenizer.decode(model.generate(ids, max_new_tokens=16)[0]))
"""


def say(line: str) -> None:
    """Print a line at once, even into a pipe."""
    print(line, flush=True)


def _report_ready(server: ServerProcess) -> None:
    say(f"  layers {server.layers}: process {server.pid}, ready after {server.seconds_to_ready:.1f} s")


def _wait_for_the_end(swarm: LocalSwarm) -> None:
    """Return once no server is left; Ctrl-C interrupts it."""
    running = list(swarm.servers)
    while running:
        for server in list(running):
            if server.returncode is not None:
                say(f"the server of layers {server.layers} ended with status {server.returncode}")
                running.remove(server)
        time.sleep(0.5)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _quiet_libraries() -> None:
    """Keep libraries from talking over the answer; it must happen before they are imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


if __name__ == "__main__":
    sys.exit(main())
