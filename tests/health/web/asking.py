"""Requests to a page, and the answers."""

from __future__ import annotations

import gzip
import http.client
import json
import time

from p2pinfer.health.snapshot.state import HealthState
from tests.health.states import make_state
from tests.health.web.serving import Served


class Answer:
    """The answer to one request, decompressed."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        if self.headers.get("content-encoding") == "gzip":
            self.body = gzip.decompress(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> dict:
        return json.loads(self.body)


def ask(page: Served, path: str, *, method: str = "GET", body: object = None, **headers: str) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server.port, timeout=20)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=names)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def fresh_state(**changes: object) -> HealthState:
    """A state that was read just now."""
    return make_state(generated_at=time.time(), **changes)
