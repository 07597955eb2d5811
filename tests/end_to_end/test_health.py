"""The health page on a real swarm, in a real browser: it shows changes soon, and without a reload."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from p2pinfer.identity import Identity
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span
from p2pinfer.wire.certificates import new_certificate
from tests.swarm.strangers_record import strangers_record

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SECONDS = 60.0
SAID_SECONDS = 30.0
"""Half a minute: so soon the page says that a server is gone."""


class Page:
    """A running `python -m p2pinfer.health`."""

    def __init__(self, *flags: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "p2pinfer.health", "--port", "0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        self.lines = [self._process.stdout.readline()]
        self.url = self.lines[0].split()[-1]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines += self._process.stdout

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url.rstrip("/") + path, timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def model(self) -> dict[str, Any]:
        """The one model that is served; empty while no model is known."""
        models = json.loads(self.get("/api/v1/state"))["models"]
        return models[0] if models else {}

    def probe_works(self) -> bool:
        """True if the page's last probe generated something."""
        probe = self.model().get("probe")
        return bool(probe and probe["works"])

    def close(self) -> int:
        """End the page by Ctrl-C's signal; returns its exit status."""
        self._process.send_signal(2)
        try:
            return self._process.wait(60)
        finally:
            self._process.kill()


@contextmanager
def running(*flags: str) -> Iterator[Page]:
    page = Page(*flags)
    try:
        yield page
    finally:
        page.close()


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> float:
    """Wait for a condition, and return the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.2)
    return time.monotonic() - began


@pytest.fixture
def swarm(smollm2: LayerStore) -> Iterator[LocalSwarm]:
    with LocalSwarm() as swarm:
        swarm.start(
            smollm2.folder, split_layers(30, 3), threads=1, server_arguments=("--public-name", "garage <3>")
        )
        yield swarm


@pytest.mark.timeout(200)
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_when_a_server_is_killed_the_page_says_so_within_half_a_minute_and_without_a_reload(
    smollm2: LayerStore, swarm: LocalSwarm, tmp_path: Path
):
    """A killed server's record lives for another minute. The page asks late servers itself."""
    flags = ["--initial-peers", *swarm.initial_peers, "--data-folder", str(tmp_path)]
    with running(*flags, "--probe", str(smollm2.folder), "--probe-seconds", "5") as page:
        until(lambda: len(page.model().get("servers", ())) == 3)
        until(page.probe_works)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            tab = browser.new_page()
            tab.goto(page.url)
            tab.evaluate("window.notReloaded = true")
            said = tab.inner_text("main")
            assert "SmolLM2-135M-Instruct" in said
            assert "garage <3>" in said

            swarm.kill(1)
            seconds = until(lambda: "cannot generate" in tab.inner_text("main"), SAID_SECONDS)
            print(f"the page said so after {seconds:.1f} s")
            assert page.model()["missing"] == [[10, 20]]
            assert tab.evaluate("window.notReloaded") is True
            until(lambda: not page.probe_works())
            browser.close()
        assert b"p2pinfer_" in page.get("/metrics")
        assert json.loads(page.get("/healthz"))["ok"] is True
        assert page.close() == 0
        assert len(page.lines) == 1  # the page doesn't print what libraries log


@pytest.mark.timeout(100)
def test_a_report_for_the_terminal(swarm: LocalSwarm, tmp_path: Path):
    """The health report printed once, as text and as JSON."""
    command = [sys.executable, "-m", "p2pinfer.health", "--initial-peers", *swarm.initial_peers]
    command += ["--data-folder", str(tmp_path), "--once"]

    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    state = json.loads(as_json)

    print(printed.stdout)
    assert "SmolLM2-135M-Instruct" in printed.stdout
    assert printed.stderr == ""
    assert [model["answer"] for model in state["models"]] == ["thin"]
    assert len(state["models"][0]["servers"]) == 3


@pytest.mark.timeout(150)
async def test_a_record_with_a_certificate_of_no_known_version_ends_no_page(
    swarm: LocalSwarm, tmp_path: Path
):
    """Nodes refuse such a record, also where a stranger's member stores it without a look."""
    flags = ["--initial-peers", *swarm.initial_peers, "--data-folder", str(tmp_path)]
    me = Identity.ephemeral()
    async with Swarm.join(swarm.initial_peers, me, client_only=True) as member:
        [listed] = await member.models()
        version_3, version_16 = bytes.fromhex("a003020102"), bytes.fromhex("a00302010f")
        certificate, now = new_certificate().der, time.time()
        record = Announcement(
            peer_id=me.peer_id,
            model=listed.model,
            model_name=listed.model_name,
            num_layers=listed.num_layers,
            layers=Span(0, listed.num_layers),
            state=ServerState.SERVING,
            numerics="native-w8a8h64-1",
            endpoints=("127.0.0.1:9",),
            certificate=certificate,
            announced_at=now - 20.0,
            expires_at=now + 120.0,
        )
        spoiled = strangers_record(record, me, certificate=certificate.replace(version_3, version_16, 1))
        stored = Record(
            peer_id=me.peer_id,
            data=spoiled,
            expires_at=record.expires_at,
            tree=record.model,
            place=record.place,
            proof=me.proof,
        )
        answers = await member.put([root_key(listed.model)], stored)
        assert answers and all(answer.refusal for answer in answers)
        with running(*flags) as page:
            await asyncio.to_thread(until, lambda: len(page.model().get("servers", ())) == 3)
            read_at = json.loads(page.get("/api/v1/state"))["generated_at"]
            await asyncio.to_thread(
                until, lambda: json.loads(page.get("/api/v1/state"))["generated_at"] > read_at + 1.0
            )
            assert me.peer_id not in {server["peer_id"] for server in page.model()["servers"]}
        command = [sys.executable, "-m", "p2pinfer.health", *flags, "--once", "--json"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        printed = done.stdout
    assert len(json.loads(printed)["models"][0]["servers"]) == 3


@pytest.mark.timeout(150)
def test_the_example_of_the_page_generates_when_it_is_pasted(
    smollm2: LayerStore, swarm: LocalSwarm, tmp_path: Path
):
    """The operator says where visitors get the model; nothing has to be replaced."""
    flags = ["--initial-peers", *swarm.initial_peers, "--data-folder", str(tmp_path)]
    with running(*flags, "--show-model", str(smollm2.folder)) as page:
        until(lambda: len(page.model().get("servers", ())) == 3)
        until(lambda: b"layers 0\xe2\x80\x9329" in page.get("/"))
        text = page.get("/").decode()
    [example] = re.findall(r'id="command-3"><code>(.*?)</code>', text, re.DOTALL)
    command = [sys.executable, "-c", unescape(example)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "The capital of France is Paris" in printed


@pytest.mark.timeout(150)
def test_a_page_with_a_probe_is_stopped_in_any_second_without_a_word_on_standard_error(
    smollm2: LayerStore, swarm: LocalSwarm, tmp_path: Path
):
    """Also while the probe joins, generates, and leaves."""
    flags = ["--initial-peers", *swarm.initial_peers, "--data-folder", str(tmp_path), "--port", "0"]
    flags += ["--probe", str(smollm2.folder), "--probe-seconds", "5"]
    said = []
    for seconds in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5):
        command = [sys.executable, "-u", "-m", "p2pinfer.health", *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as page:
            assert page.stdout is not None
            assert page.stdout.readline().startswith("the page is at ")
            time.sleep(seconds)
            page.send_signal(signal.SIGINT)
            said.append((page.communicate(timeout=60)[1], page.returncode))
    assert said == [("", 0)] * 6


def test_where_nobody_answers_the_report_says_so(tmp_path: Path):
    address = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWKrxghex4d8r3ytG8GmgdenmZY35fKqY54GVYbd9LMeak"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "p2pinfer.health", "--once"),
            *("--initial-peers", address, "--data-folder", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no peer of the swarm answers" in done.stderr
