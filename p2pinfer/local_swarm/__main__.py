"""`python -m p2pinfer.local_swarm`: a swarm on this machine answers one question, for scripts/quickstart."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from p2pinfer.command_line.extras import require
from p2pinfer.command_line.output import ReaderGoneError, say, show
from p2pinfer.command_line.program import FAILED, INTERRUPTED, run
from p2pinfer.local_swarm.config import QuickstartConfig
from p2pinfer.types import Span

if TYPE_CHECKING:
    from p2pinfer.local_swarm.server_process import ServerProcess
    from p2pinfer.local_swarm.swarm import LocalSwarm


def main(argv: Sequence[str] | None = None) -> int:
    """Ask the question. Returns 0 after an answer, 1 without one, 128 + signal after an interruption."""
    return run("local_swarm", lambda: _main(argv), usage_status=FAILED)


def _main(argv: Sequence[str] | None) -> int:
    config = QuickstartConfig.from_args(argv)
    require("server")
    if config.chat:
        require("gateway")
    _quiet_libraries()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, _stop)
    try:
        (chat if config.chat else answer)(config)
    except (ReaderGoneError, BrokenPipeError):  # `| head`; transformers prints the answer by print()
        return FAILED
    except KeyboardInterrupt:
        say("\nstopped")
        return INTERRUPTED
    return 0


def answer(config: QuickstartConfig) -> None:
    """Fetch the model, start the swarm, print the answer. Ends every process that it starts, in any case."""
    from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file  # after the flags
    from p2pinfer.local_swarm.shares import split_layers
    from p2pinfer.local_swarm.swarm import LocalSwarm
    from p2pinfer.model.source import open_model

    source = config.model or str(fetch_model_file(SMOLLM2, config.cache_folder, progress=show))
    store = open_model(source, cache_folder=config.cache_folder, progress=show)
    manifest = store.manifest
    spans = split_layers(manifest.num_layers, config.num_peers)
    with LocalSwarm(say=show) as swarm:
        peers = "one peer with all" if len(spans) == 1 else f"{len(spans)} peers, each with a share of the"
        show(f"starting {peers} {manifest.num_layers} layers")
        swarm.launch(store.folder, spans)
        show("loading the client meanwhile")
        from p2pinfer.local_swarm.answer import stream_answer  # it imports torch and transformers

        swarm.wait_ready(_report_ready)
        stream_answer(
            store,
            swarm.initial_peers,
            config.prompt,
            max_new_tokens=config.max_new_tokens,
            wire_dtype=config.wire_dtype,
            say=show,
        )
        if config.keep:
            show(joining_help(str(store.folder), swarm.initial_peers, Span(0, manifest.num_layers)))
            _wait_for_the_end(swarm)


def chat(config: QuickstartConfig) -> None:
    """Fetch the model, start the swarm, serve the chat page. Ends every process that it starts."""
    from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file  # after the flags
    from p2pinfer.model.source import open_model

    source = config.model or str(fetch_model_file(SMOLLM2, config.cache_folder, progress=show))
    store = open_model(source, cache_folder=config.cache_folder, progress=show)
    from p2pinfer.local_swarm.chat import program

    program.chat(config, store)


def joining_help(model: str, initial_peers: Sequence[str], layers: Span) -> str:
    """Commands with which another terminal joins the swarm, ready to be copied."""
    python = shlex.quote(sys.executable)
    peers = " ".join(initial_peers)
    return f"""
The swarm stays up until Ctrl-C. From another terminal, join it

as a server:
  {python} -m p2pinfer.server {shlex.quote(model)} --layers {layers} --initial-peers {peers}

as a client, in {python}:
  from p2pinfer import AutoDistributedModelForCausalLM
  model = AutoDistributedModelForCausalLM.from_pretrained({model!r}, initial_peers={list(initial_peers)!r})
  ids = model.tokenizer("The capital of France is", return_tensors="pt").input_ids
  print(model.tokenizer.decode(model.generate(ids, max_new_tokens=16)[0]))
"""


def _report_ready(server: ServerProcess) -> None:
    show(f"  layers {server.layers}: process {server.pid}, ready after {server.seconds_to_ready:.1f} s")


def _wait_for_the_end(swarm: LocalSwarm) -> None:
    """Return when every server has ended; Ctrl-C interrupts it."""
    running = list(swarm.servers)
    while running:
        for server in list(running):
            if server.returncode is not None:
                show(f"the server of layers {server.layers} ended with status {server.returncode}")
                running.remove(server)
        time.sleep(0.5)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _quiet_libraries() -> None:
    """Keep libraries from logging into the answer. Call it before they are imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


if __name__ == "__main__":
    sys.exit(main())
