"""A WebSocket server that speaks Home Assistant's protocol, as far as we use it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import WSMsgType, web

TOKEN = "long-lived"


class Home:
    """A stand-in for Home Assistant: its entities, and the connections that subscribed to them."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}
        self.silent = False
        self.greeting = json.dumps({"type": "auth_required", "ha_version": "2026.5.0"})
        self.questions = 0
        self._listeners: dict[web.WebSocketResponse, dict[int, list[str]]] = {}
        self.url = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def at_home(
        cls, states: dict[str, tuple[str, dict[str, Any]]], port: int = 0
    ) -> AsyncIterator[Home]:
        home = cls()
        home.states = {
            name: {"s": state, "a": dict(attributes)} for name, (state, attributes) in states.items()
        }
        app = web.Application()
        app.router.add_get("/api/websocket", home._talk)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        home.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield home
        finally:
            await home.hang_up()
            await runner.cleanup()

    async def set(self, entity_id: str, state: str | None = None, **attributes: object) -> None:
        """A change, sent as a difference."""
        added: dict[str, Any] = {"lu": 1}
        if state is not None:
            self.states[entity_id]["s"] = added["s"] = state
        if attributes:
            self.states[entity_id]["a"].update(attributes)
            added["a"] = attributes
        await self.send({"c": {entity_id: {"+": added}}})

    async def drop_attribute(self, entity_id: str, attribute: str) -> None:
        await self.send({"c": {entity_id: {"-": {"a": [attribute]}}}})

    async def remove(self, entity_id: str) -> None:
        del self.states[entity_id]
        await self.send({"r": [entity_id]})

    async def send(self, event: object) -> None:
        """Any event to all that listen."""
        for socket, subscriptions in self._listeners.items():
            for number in subscriptions:
                await socket.send_json({"id": number, "type": "event", "event": event})

    async def send_raw(self, text: str) -> None:
        for socket in list(self._listeners):
            with contextlib.suppress(ConnectionError):  # hung up on us in the midst of it
                await socket.send_str(text)

    async def hang_up(self) -> None:
        for socket in list(self._listeners):
            await socket.close()

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(self.greeting)
        answer = await socket.receive()
        if answer.type is not WSMsgType.TEXT:
            return socket
        if json.loads(answer.data) != {"type": "auth", "access_token": TOKEN}:
            await socket.send_json({"type": "auth_invalid", "message": "Invalid access token or password"})
            await socket.close()
            return socket
        await socket.send_json({"type": "auth_ok", "ha_version": "2026.5.0"})
        self._listeners[socket] = {}
        try:
            async for message in socket:
                await self._answer(socket, json.loads(message.data))
        finally:
            del self._listeners[socket]
        return socket

    async def _answer(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if self.silent:
            return
        number = message["id"]
        if message["type"] == "subscribe_entities":
            names = message["entity_ids"]
            self._listeners[socket][number] = names
            await socket.send_json({"id": number, "type": "result", "success": True, "result": None})
            found = {name: self.states[name] for name in names if name in self.states}
            await socket.send_json({"id": number, "type": "event", "event": {"a": found}})
        elif message["type"] == "auth/current_user":
            self.questions += 1
            result = {"id": "1", "name": "car", "is_owner": False, "is_admin": False}
            await socket.send_json({"id": number, "type": "result", "success": True, "result": result})
        else:
            error = {"code": "unknown_command", "message": "Unknown command."}
            await socket.send_json({"id": number, "type": "result", "success": False, "error": error})
