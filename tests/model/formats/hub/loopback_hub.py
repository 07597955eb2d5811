"""A small Hugging Face hub on loopback, with a second server to which it sends readers of weight files.

It answers what p2pinfer asks: the files of a model at a commit, small files as they are, and ranges of large
ones. It fails in the ways that a test asks for.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "a" * 40
_RESOLVE = re.compile(r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_API = re.compile(r"/api/models/(?P<id>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(frozen=True)
class Asked:
    """One question for a file's bytes."""

    file: str
    start: int
    end: int
    has_login: bool


class LoopbackHub:
    """Serves model folders by their ids. A context manager."""

    def __init__(self, models: dict[str, Path], *, commit: str = COMMIT) -> None:
        self.models = models
        self.commits = {commit: models}
        self.main = commit
        self.gated: set[str] = set()
        self.weights_asked: list[Asked] = []
        """What was asked of the second server."""
        self.small_asked: list[str] = []
        self.questions = 0
        """To the API."""
        self.resolved = 0
        """Questions for a weight file to the hub, which the second server answered."""
        self.sent_bytes = 0
        """Of weight files."""
        self.connections = 0
        self.faults: deque[str] = deque()
        """What happens to the next questions for weights, one each; an empty one is answered properly."""
        self.fault_of: Callable[[Asked], str] = lambda asked: ""
        """What happens to a question for weights when `faults` is empty."""
        self.small_faults: deque[str] = deque()
        self.link = 1  # readers with an older link are refused
        self.stalled = threading.Event()  # an answer stands still
        self.released = threading.Event()  # lets stalled answers go
        self._hub = _Server(_HubHandler, self)
        self._weights = _Server(_WeightsHandler, self)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._hub.server_address[1]}"

    @property
    def weights_address(self) -> str:
        # another name of the same machine: a login must not follow there
        return f"http://localhost:{self._weights.server_address[1]}"

    def become_the_hub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of this process, as HF_ENDPOINT makes it before `huggingface_hub` is imported."""
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", self.endpoint)
        template = self.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    def release(self, commit: str, models: dict[str, Path]) -> None:
        """A new commit becomes `main`; the old ones stay."""
        self.commits[commit] = models
        self.main = commit

    def path(self, model_id: str, revision: str, file: str) -> Path | None:
        folder = self.commits.get(self.main if revision == "main" else revision, {}).get(model_id)
        path = None if folder is None else folder / file
        return path if path is not None and path.is_file() else None

    def __enter__(self) -> LoopbackHub:
        for server in (self._hub, self._weights):
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        for server in (self._hub, self._weights):
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[BaseHTTPRequestHandler], hub: LoopbackHub) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.hub = hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that has gone is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def hub(self) -> LoopbackHub:
        server: Any = self.server
        return server.hub

    def setup(self) -> None:
        super().setup()
        self.hub.connections += 1

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests are silent."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        raise NotImplementedError


class _HubHandler(_Handler):
    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if (asked := _API.fullmatch(path)) is not None:
            self.hub.questions += 1
            self._describe(asked["id"], asked["revision"] or "main")
        elif (asked := _RESOLVE.fullmatch(path)) is not None:
            self._resolve(asked["id"], asked["revision"], asked["file"])
        else:
            self.answer(404)

    def _describe(self, model_id: str, revision: str) -> None:
        hub = self.hub
        commit = hub.main if revision == "main" else revision
        if not any(model_id in models for models in hub.commits.values()):
            self.answer(404, X_Error_Code="RepoNotFound")
        elif model_id not in hub.commits.get(commit, {}):
            self.answer(404, X_Error_Code="RevisionNotFound")
        else:
            folder = hub.commits[commit][model_id]
            files = [{"rfilename": path.relative_to(folder).as_posix()} for path in sorted(folder.rglob("*"))]
            self.answer(200, json.dumps({"id": model_id, "sha": commit, "siblings": files}).encode())

    def _resolve(self, model_id: str, revision: str, file: str) -> None:
        hub = self.hub
        path = hub.path(model_id, revision, file)
        if model_id in hub.gated:
            self.answer(401, X_Error_Code="GatedRepo")
        elif path is None:
            self.answer(404, X_Error_Code="EntryNotFound")
        elif file.endswith(".safetensors"):
            hub.resolved += 1
            where = f"{hub.weights_address}/{model_id}/resolve/{revision}/{file}?link={hub.link}"
            self.answer(302, Location=where, Content_Length="0")
        else:
            hub.small_asked.append(file)
            fault = hub.small_faults.popleft() if hub.small_faults else ""
            body = path.read_bytes()
            if fault.isdigit():
                self.answer(int(fault))
            elif fault == "cut":
                self.answer(200, body[:5], Content_Length=str(len(body)))
                self.close_connection = True
            else:
                self.answer(200, body)


class _WeightsHandler(_Handler):
    def do_GET(self) -> None:
        hub, url = self.hub, urlsplit(self.path)
        asked = _RESOLVE.fullmatch(unquote(url.path))
        path = hub.path(asked["id"], asked["revision"], asked["file"]) if asked else None
        if path is None or asked is None or url.query != f"link={hub.link}":
            self.answer(403)
            return
        total = path.stat().st_size
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        start, end = (int(wanted[1]), min(int(wanted[2]) + 1, total)) if wanted else (0, total)
        question = Asked(asked["file"], start, end, "Authorization" in self.headers)
        hub.weights_asked.append(question)
        fault = hub.faults.popleft() if hub.faults else hub.fault_of(question)
        with path.open("rb") as file:
            file.seek(start)
            self._send(fault, file.read(end - start), start, end, total)

    def _send(self, fault: str, body: bytes, start: int, end: int, total: int) -> None:
        match fault:
            case "429":
                self.answer(429, Retry_After="7")
            case "whole":
                self.send_response(200)
                self.send_header("Content-Length", str(1 << 40))
                self.end_headers()
                while not self.hub.released.is_set():  # until the reader has had enough
                    self.wfile.write(bytes(1 << 16))
            case "elsewhere":
                self.answer(206, body, Content_Range=f"bytes {start + 1}-{end}/{total + 1}")
            case "another size":
                self.answer(206, body, Content_Range=f"bytes {start}-{end - 1}/{total + 7}")
            case "nonsense":
                self.answer(206, body, Content_Range="bytes are here")
            case "shorter":
                half = body[: len(body) // 2]
                self.hub.sent_bytes += len(half)
                self.answer(206, half, Content_Range=f"bytes {start}-{start + len(half) - 1}/{total}")
            case "more":
                self.answer(206, body + b"!", Content_Range=f"bytes {start}-{end - 1}/{total}")
            case "compressed":
                where = f"bytes {start}-{end - 1}/{total}"
                self.answer(206, body, Content_Range=where, Content_Encoding="gzip")
            case "cut" | "stall" | "trickle":
                half = body[: len(body) // 2]
                where = f"bytes {start}-{end - 1}/{total}"
                self.hub.sent_bytes += len(half)
                self.answer(206, half, Content_Range=where, Content_Length=str(len(body)))
                while fault == "trickle" and not self.hub.released.wait(0.02):
                    self.wfile.write(b"!")
                if fault == "stall":
                    self.hub.stalled.set()
                    self.hub.released.wait(30)
                self.close_connection = True
            case "":
                self.hub.sent_bytes += len(body)
                self.answer(206, body, Content_Range=f"bytes {start}-{end - 1}/{total}")
            case _:
                self.answer(int(fault))
