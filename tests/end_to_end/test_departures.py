"""Servers leave, die, hide behind a NAT or are missing: the client gets the text, or a clear error."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.errors import NoRouteError, SwarmUnreachableError
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.chunks import FileEntry
from p2pinfer.model.layer_store.manifest import hash_of
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.types import Span, short_id
from tests.end_to_end.conftest import PROMPTS


def server_command(folder: Path, *arguments: str) -> list[str]:
    """A server whose owner has agreed; its files are in `folder`."""
    return [
        *(sys.executable, "-u", "-m", "p2pinfer.server", *arguments),
        *("--accept", "--data-folder", str(folder)),
    ]


def run_server(folder: Path, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        server_command(folder, *arguments), capture_output=True, text=True, timeout=seconds, check=False
    )


def p2pds_of(parent: int) -> list[int]:
    """The libp2p daemons that this process has started and that still run."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                status = Path(f"/proc/{child}/status").read_text()
                if "Name:\tp2pd\n" in status and "State:\tZ" not in status:
                    found.append(int(child))
    return found


def in_use(swarm: LocalSwarm, peer_id: str) -> ServerProcess:
    return next(server for server in swarm.servers if is_peer(server, peer_id))


def is_peer(server: ServerProcess, peer_id: str) -> bool:
    return any(line.startswith("ready:") and short_id(peer_id) in line for line in server.lines)


@pytest.mark.parametrize(
    "end",
    [ServerProcess.kill, ServerProcess.pause, lambda server: server.signal(signal.SIGINT)],
    ids=["SIGKILL", "SIGSTOP", "Ctrl-C"],
)
def test_a_server_that_goes_is_replaced_and_the_text_is_as_if_it_had_stayed(
    smollm2, tokenizer, one_process, end
):
    """A server leaves in mid-answer, drained or killed: the spare gets the history and the text goes on."""
    ids = tokenizer(PROMPTS[1], return_tensors="pt").input_ids
    gone: list[ServerProcess] = []
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [Span(0, 15), Span(15, 30), Span(15, 30)], threads=1)
        with (
            AutoDistributedModelForCausalLM.from_pretrained(
                smollm2.folder, initial_peers=swarm.initial_peers[:1]
            ) as model,
            model.inference_session(max_length=128) as session,
        ):

            def end_the_one_in_use(input_ids, scores, **_):
                if input_ids.shape[1] == ids.shape[1] + 6 and not gone:
                    gone.append(in_use(swarm, session.report()[1].peer_id))
                    end(gone[0])
                return False

            output = model.generate(
                ids,
                max_new_tokens=24,
                do_sample=False,
                eos_token_id=None,
                stopping_criteria=[end_the_one_in_use],
            )
            last = model.generate(output, max_new_tokens=1, do_sample=False, eos_token_id=None)
            if gone[0].returncode is None and end is not ServerProcess.pause:
                assert gone[0].wait(60), gone[0].lines
                assert gone[0].returncode == 0
                assert gone[0].lines[-1] == "leaving: 0 sessions are told"
            assert not is_peer(gone[0], session.report()[1].peer_id)
            assert session.replaced_hops == 1
            gone[0].resume()  # back, late, and harmless
            last = model.generate(last, max_new_tokens=2, do_sample=False, eos_token_id=None)
    assert last[0, ids.shape[1] :].tolist() == one_process.greedy(ids[0].tolist(), 27)


def test_p2pd_dies_at_a_server_and_at_the_client_and_the_text_goes_on(smollm2, tokenizer, one_process):
    """Sessions don't need p2pd; both sides start it again, and new clients find the server."""
    ids = tokenizer(PROMPTS[2], return_tensors="pt").input_ids
    killed: list[int] = []
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [Span(0, 15), Span(15, 30)], threads=1)
        with AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.folder, initial_peers=swarm.initial_peers
        ) as model:

            def kill_every_p2pd(input_ids, scores, **_):
                if input_ids.shape[1] == ids.shape[1] + 4 and not killed:
                    killed.extend(
                        pid
                        for parent in (os.getpid(), *(server.pid for server in swarm.servers))
                        for pid in p2pds_of(parent)
                    )
                    for pid in killed:
                        os.kill(pid, signal.SIGKILL)
                return False

            output = model.generate(
                ids,
                max_new_tokens=24,
                do_sample=False,
                eos_token_id=None,
                stopping_criteria=[kill_every_p2pd],
            )
            assert len(killed) == 3
            assert output[0, ids.shape[1] :].tolist() == one_process.greedy(ids[0].tolist(), 24)
            deadline = time.monotonic() + 60
            while not all(p2pds_of(server.pid) for server in swarm.servers):
                assert time.monotonic() < deadline, [server.lines for server in swarm.servers]
                time.sleep(0.1)
        with AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.folder, initial_peers=swarm.initial_peers, join_timeout=60
        ) as later:
            output = later.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None)
        assert output[0, ids.shape[1] :].tolist() == one_process.greedy(ids[0].tolist(), 4)


def test_a_client_that_is_killed_leaves_nothing_with_the_servers(smollm2):
    """The client's calls break with its process; the servers free its sessions at once."""
    program = f"""
from p2pinfer import AutoDistributedModelForCausalLM
import sys, torch
model = AutoDistributedModelForCausalLM.from_pretrained({str(smollm2.folder)!r}, initial_peers=sys.argv[1:])
with model.inference_session(max_length=64):
    model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=2)
    print("generated", flush=True)
    sys.stdin.read()
"""
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [Span(0, 15), Span(15, 30)], threads=1)
        client = subprocess.Popen(
            [sys.executable, "-c", program, *swarm.initial_peers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "generated\n"
        finally:
            client.kill()
            client.communicate()
        deadline = time.monotonic() + 60
        while not all(any("session closed" in line for line in server.lines) for server in swarm.servers):
            assert time.monotonic() < deadline, [server.lines for server in swarm.servers]
            time.sleep(0.05)


def test_a_server_that_only_a_tunnel_reaches_serves(smollm2, tokenizer, one_process):
    ids = tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [Span(0, 15)], threads=1)
        hidden = ["--listen", "none", "--dht-listen", "/ip4/127.0.0.1/tcp/0"]
        swarm.start(smollm2.folder, [Span(15, 30)], threads=1, server_arguments=hidden)
        with AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.folder, initial_peers=swarm.initial_peers
        ) as model:
            output = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
            second = model.route_report()[1].peer_id
            network = model.remote.network
            records = network.run(network.directory.swarm.servers(smollm2.manifest.hash))
            assert next(record for record in records if record.peer_id == second).endpoints == ()
    assert output[0, ids.shape[1] :].tolist() == one_process.greedy(ids[0].tolist(), 8)


def test_a_server_needs_no_other_layers_than_its_own_and_takes_those_the_swarm_lacks(smollm2, tmp_path):
    """A server with a store that lacks the other layers' files serves its own layers."""
    own = tmp_path / "own-layers"
    shutil.copytree(smollm2.folder, own)
    for layer in (*range(10), *range(20, 30)):
        (own / "layers" / f"{layer:05}.safetensors").unlink()
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [Span(0, 10), Span(20, 30)], threads=1)
        joining = subprocess.Popen(
            server_command(
                tmp_path,
                *(str(own), "--num-layers", "10", "--listen", "127.0.0.1:0", "--threads", "1"),
                *("--initial-peers", *swarm.initial_peers),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert joining.stdout is not None
            lines = []
            for line in joining.stdout:
                lines.append(line)
                if line.startswith("ready:"):
                    break
            assert any("layers 10:20 of 30" in line for line in lines), lines
        finally:
            joining.send_signal(signal.SIGINT)
            rest, _ = joining.communicate(timeout=60)
        assert joining.returncode == 0
        assert rest.splitlines()[-1] == "leaving: 0 sessions are told"


def test_ctrl_c_withdraws_the_record_at_once_and_a_waiting_client_goes_on_when_layers_return(
    smollm2, tokenizer, caplog
):
    ids = tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [Span(0, 15), Span(15, 30)], threads=1)
        swarm.servers[1].signal(signal.SIGINT)
        assert swarm.servers[1].wait(60)
        assert swarm.servers[1].returncode == 0
        with AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.folder, initial_peers=swarm.initial_peers, timeout=1
        ) as impatient:
            with pytest.raises(NoRouteError, match="layers 15-29") as error:
                impatient.generate(ids, max_new_tokens=2)
            assert error.value.missing == (Span(15, 30),)
        returning = threading.Timer(1.0, lambda: swarm.launch(smollm2.folder, [Span(15, 30)], threads=1))
        with AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.folder, initial_peers=swarm.initial_peers, timeout=60
        ) as patient:
            returning.start()
            output = patient.generate(ids, max_new_tokens=2, do_sample=False)
            returning.join()
        assert output.shape[1] == ids.shape[1] + 2
    assert "no server for layers 15-29; waiting for servers to join" in caplog.text


def test_nobody_at_the_address_is_said_within_the_time_given(smollm2, tmp_path):
    address = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu"
    started = time.monotonic()
    with pytest.raises(SwarmUnreachableError, match=r"127\.0\.0\.1"):
        AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.folder, initial_peers=[address], join_timeout=5
        )
    assert time.monotonic() - started < 30
    program = run_server(tmp_path, str(smollm2.folder), "--initial-peers", address, "--listen", "127.0.0.1:0")
    assert program.returncode == 1
    assert "Traceback" not in program.stderr
    assert "127.0.0.1" in program.stderr


def test_a_swarm_with_another_model_is_named(smollm2, three_servers, tokenizer, tmp_path):
    """The same model converted from other weights has another manifest: no route, and the reason."""
    other = tmp_path / "other"
    shutil.copytree(smollm2.folder, other)
    files = {**smollm2.manifest.files, layer_file(7): FileEntry(sha256="0" * 64, bytes=1, chunks=("0" * 64,))}
    manifest = replace(smollm2.manifest, hash=hash_of(files), files=files)
    (other / "manifest.json").write_text(manifest.to_json())
    with AutoDistributedModelForCausalLM.from_pretrained(
        other, initial_peers=three_servers.initial_peers, timeout=1
    ) as model:
        with pytest.raises(NoRouteError, match=f"its servers have: .*{smollm2.manifest.hash[:12]}"):
            model.generate(tokenizer(PROMPTS[0], return_tensors="pt").input_ids, max_new_tokens=2)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["/does/not/exist"], 1, "no file or folder"),
        (["STORE", "--layers", "25:40"], 2, "has layers 0:30"),
        (["STORE", "--initial-peers", "nonsense"], 2, "nonsense"),
        (["STORE", "--listen", "BUSY"], 2, "another program uses port"),
        (["STORE", "--listen", "192.0.2.77:0"], 1, "this machine has no address 192.0.2.77"),
        (["STORE", "--device", "cuda"], 2, "CUDA"),
    ],
)
def test_what_an_owner_gets_wrong_is_one_clear_line(smollm2, tmp_path, arguments, status, message):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        meaning = {"STORE": str(smollm2.folder), "BUSY": f"127.0.0.1:{taken.getsockname()[1]}"}
        arguments = [meaning.get(word, word) for word in arguments]
        if "--listen" not in arguments:
            arguments += ["--listen", "127.0.0.1:0"]
        program = run_server(tmp_path, *arguments)
    assert program.returncode == status, program.stderr
    assert message in program.stderr
    lines = program.stderr.splitlines()
    assert len(lines) == 1 or (len(lines) == 2 and lines[1] == "Try: python -m p2pinfer.server --help")
