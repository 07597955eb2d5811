"""A demonstration's servers: who may kill them, and that nothing else can be killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from p2pinfer.local_swarm.chat.demo import Demo
from p2pinfer.local_swarm.chat.routes import demo_router
from p2pinfer.local_swarm.swarm import LocalSwarm, Place
from p2pinfer.types import Span
from tests.local_swarm.test_swarm import swarm_of_stand_ins

PAGE = {"x-p2pinfer-demo": "1", "origin": "http://testserver"}


@pytest.fixture
def swarm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalSwarm]:
    """Two processes in the place of servers."""
    with swarm_of_stand_ins(monkeypatch, tmp_path) as running:
        places = [Place(dht_port=4001), Place(dht_port=4002)]
        running.start("model", [Span(0, 1), Span(1, 2)], places=places)
        yield running


@pytest.fixture
def client(swarm: LocalSwarm) -> TestClient:
    app = FastAPI()
    app.include_router(demo_router(Demo(swarm)))
    return TestClient(app)


def alive(client: TestClient) -> list[bool]:
    """Which of the servers run."""
    return [server["alive"] for server in client.get("/demo/servers").json()]


def test_a_server_is_killed_and_started_again(client: TestClient, swarm: LocalSwarm):
    """With its layers and its identity."""
    first, second = client.get("/demo/servers").json()
    assert first == {"peer": swarm.peer_ids[0], "first_layer": 0, "end_layer": 1, "alive": True}

    assert client.post("/demo/kill", json={"peer": second["peer"]}, headers=PAGE).status_code == 200
    assert alive(client) == [True, False]
    assert client.post("/demo/kill", json={"peer": second["peer"]}, headers=PAGE).status_code == 200
    assert client.post("/demo/start", json={"peer": second["peer"]}, headers=PAGE).status_code == 200
    assert client.get("/demo/servers").json() == [first, second]
    pid = swarm.servers[1].pid
    assert client.post("/demo/start", json={"peer": second["peer"]}, headers=PAGE).status_code == 200
    assert swarm.servers[1].pid == pid


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-p2pinfer-demo": "1"},
        {"x-p2pinfer-demo": "2", "origin": "http://testserver"},
        {"origin": "http://testserver"},
        {"x-p2pinfer-demo": "1", "origin": "https://evil.example"},
        {"x-p2pinfer-demo": "1", "origin": "null"},
    ],
)
def test_other_pages_may_not(client: TestClient, swarm: LocalSwarm, headers: dict[str, str]):
    """They can send the request, but not from here and not with the header."""
    for action in ("kill", "start"):
        answer = client.post(f"/demo/{action}", json={"peer": swarm.peer_ids[0]}, headers=headers)
        assert answer.status_code == 403
    assert alive(client) == [True, True]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"peer": 1}', b'{"peer": "QmOther"}', b"[" * 900, b" " * 2000, b"\xff"]
)
def test_what_names_no_server_is_refused(client: TestClient, body: bytes):
    assert client.post("/demo/kill", content=body, headers=PAGE).status_code == 400
    assert alive(client) == [True, True]
