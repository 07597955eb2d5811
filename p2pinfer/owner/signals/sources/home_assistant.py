"""Signals that Home Assistant knows: the state of any entity, or one of its attributes.

`subscribe_entities` of its WebSocket API sends all states first, then changes. A state counts for as long as
Home Assistant answers a small question (who am I) every few seconds. It marks the entities that it can't
reach as `unavailable`; their signals are withdrawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from hass_client import HomeAssistantClient
from hass_client.exceptions import AuthenticationFailed, BaseHassClientError, CannotConnect, FailedCommand

from p2pinfer.outside.url_secrets import masked
from p2pinfer.owner.signals.config import Entity, HomeAssistant
from p2pinfer.owner.signals.known import Known
from p2pinfer.owner.signals.meaning import is_listed, make_sense, text_of_json
from p2pinfer.owner.signals.persistence import USUAL_PAUSES, Pauses, keep_connected, together
from p2pinfer.owner.signals.reach import reach
from p2pinfer.owner.signals.readings import KINDS, Signal
from p2pinfer.owner.signals.trouble import SourceError

_MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # all states of our entities in one message
_NOTHING_KNOWN = frozenset({"unavailable", "unknown"})
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}

_REACH_IT = "start Home Assistant, or correct url in [home_assistant]"
_CORRECT_IT = "correct its name in [signals]"

_RUBBISH = (ValueError, TypeError, LookupError, AttributeError, RecursionError, asyncio.InvalidStateError)
"""What hass_client raises if the other side isn't Home Assistant."""


class HomeAssistantListener:
    """All entities of one Home Assistant."""

    def __init__(
        self,
        home: HomeAssistant,
        entities: Mapping[Signal, Entity],
        known: Known,
        *,
        prove_seconds: float = 15.0,
        answer_seconds: float = 5.0,
        pauses: Pauses = USUAL_PAUSES,
    ) -> None:
        self._home = home
        self._entities = dict(entities)
        self._known = known
        self._prove_seconds = prove_seconds
        self._answer_seconds = answer_seconds
        self._pauses = pauses
        self._origin = f"home assistant {home.shown_url}"
        self._states: dict[str, _State] = {}  # reported by this connection
        self._texts: dict[Signal, str | None] = {}  # the last ones, of any connection

    async def run(self) -> None:
        """Listen until cancelled."""
        await keep_connected(self._known, self._origin, self._entities, self._listen, self._pauses)

    async def _listen(self, established: Callable[[], None]) -> None:
        """Connect, and listen until the connection ends. Raises SourceError."""
        self._states.clear()
        url, host, port = _websocket(self._home.url)
        await reach(host, port, timeout_seconds=self._answer_seconds, advice=_REACH_IT)
        # With a session of our own, leaving it cuts the connection even if the other side is silent.
        async with aiohttp.ClientSession() as session:
            client = HomeAssistantClient(url, self._home.token, session, max_msg_size=_MAX_MESSAGE_BYTES)
            try:
                async with asyncio.timeout(self._answer_seconds):
                    await client.connect()
                await together(self._read(client), self._prove(client, established))
            except AuthenticationFailed:
                raise SourceError(
                    "it refuses the access token",
                    kind="denied",
                    advice="make a new one, and put it into [home_assistant]",
                    hopeless=True,
                ) from None
            except TimeoutError:
                raise SourceError(
                    f"it doesn't answer within {self._answer_seconds:g} s", kind="silent", advice=_REACH_IT
                ) from None
            except (BaseHassClientError, aiohttp.ClientError, OSError) as error:
                raise _in_words(error) from None
            except _RUBBISH:
                raise SourceError(
                    "it doesn't behave like Home Assistant", kind="rubbish", advice=_REACH_IT
                ) from None

    async def _read(self, client: HomeAssistantClient) -> None:
        await client.start_listening()
        raise SourceError("it has closed the connection", kind="lost")

    async def _prove(self, client: HomeAssistantClient, established: Callable[[], None]) -> None:
        names = sorted({entity.entity_id for entity in self._entities.values()})
        async with asyncio.timeout(self._answer_seconds):
            await client.subscribe_entities(self._take, names)
        await self._ask(client)  # it sends the states before it answers this
        established()
        while True:
            for signal, entity in self._entities.items():
                if entity.entity_id not in self._states:
                    error = SourceError("there is no such entity", kind="no entity", advice=_CORRECT_IT)
                    self._known.withdraw(signal, origin=_origin(entity), error=error)
            self._known.vouch(
                [signal for signal, entity in self._entities.items() if entity.entity_id in self._states]
            )
            await asyncio.sleep(self._prove_seconds)
            await self._ask(client)

    async def _ask(self, client: HomeAssistantClient) -> None:
        """Ask a question that every user may ask and that changes nothing. A refusal is an answer too."""
        async with asyncio.timeout(self._answer_seconds):
            try:
                await client.send_command("auth/current_user")
            except FailedCommand:
                return

    def _take(self, event: object) -> None:
        """Use an event of `subscribe_entities`: added, changed, removed entities. hass_client calls this."""
        event = _mapping(event)
        for entity_id, state in _mapping(event.get("a")).items():
            self._states[entity_id] = _State(_mapping(state))
            self._tell(entity_id, repeated=True)
        for entity_id, change in _mapping(event.get("c")).items():
            if entity_id in self._states:
                self._states[entity_id].change(_mapping(change))
                self._tell(entity_id, repeated=False)
        removed = event.get("r")
        for entity_id in removed if isinstance(removed, list) else ():
            if isinstance(entity_id, str) and self._states.pop(entity_id, None) is not None:
                self._tell(entity_id, repeated=False)

    def _tell(self, entity_id: str, *, repeated: bool) -> None:
        """Report the signals of this entity. `repeated`: an earlier connection may have reported the same."""
        for signal, entity in self._entities.items():
            if entity.entity_id != entity_id:
                continue
            try:
                text = self._text(entity)
            except SourceError as error:
                self._texts.pop(signal, None)
                self._known.withdraw(signal, origin=_origin(entity), error=error)
                continue
            if repeated and signal in self._texts and self._texts[signal] == text:
                self._known.vouch([signal])
                continue
            self._texts[signal] = text
            self._understand(signal, entity, text)

    def _text(self, entity: Entity) -> str | None:
        state = self._states.get(entity.entity_id)
        if state is None:
            raise SourceError("there is no such entity", kind="no entity", advice=_CORRECT_IT)
        if state.state in _NOTHING_KNOWN and (
            entity.attribute or not is_listed(str(state.state), entity.meaning)
        ):
            raise SourceError(f"Home Assistant says that it is {state.state}", kind=str(state.state))
        if not entity.attribute:
            return text_of_json(state.state)
        if entity.attribute not in state.attributes:
            raise SourceError("the entity has no such attribute", kind="no attribute", advice=_CORRECT_IT)
        return text_of_json(state.attributes[entity.attribute])

    def _understand(self, signal: Signal, entity: Entity, text: str | None) -> None:
        meaning = entity.meaning
        subject = entity.attribute or entity.entity_id.rpartition(".")[2]
        try:
            if text == "" and not is_listed("", meaning):
                raise SourceError("it says nothing", kind="empty")
            told = make_sense(text, meaning, KINDS[signal], subject=subject)
        except SourceError as error:
            self._known.withdraw(signal, origin=_origin(entity), error=error)
            return
        self._known.tell(signal, told, origin=_origin(entity), max_age_seconds=meaning.max_age_seconds)


class _State:
    """State and attributes of an entity, updated by differences."""

    def __init__(self, compressed: Mapping[str, object]) -> None:
        self.state = compressed.get("s")
        self.attributes = dict(_mapping(compressed.get("a")))

    def change(self, difference: Mapping[str, object]) -> None:
        added = _mapping(difference.get("+"))
        self.state = added.get("s", self.state)
        self.attributes.update(_mapping(added.get("a")))
        removed = _mapping(difference.get("-")).get("a")
        for name in removed if isinstance(removed, list | dict) else ():
            if isinstance(name, str):
                self.attributes.pop(name, None)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _websocket(url: str) -> tuple[str, str, int]:
    """The address of the WebSocket API, its host and its port."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        host, port = None, 0
    if not host:
        raise SourceError(
            "this is not an address like http://name:8123", kind="no address", advice=_REACH_IT, hopeless=True
        )
    scheme = "wss" if parts.scheme in ("https", "wss") else "ws"
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/api/websocket", "", "")), host, port


def _in_words(error: Exception) -> SourceError:
    cause = error.error if isinstance(error, CannotConnect) else error
    if isinstance(cause, aiohttp.WSServerHandshakeError):
        return SourceError(
            f"there is no Home Assistant (HTTP status {cause.status})", kind="not there", advice=_REACH_IT
        )
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return SourceError("its certificate can't be verified", kind="certificate", hopeless=True)
    return SourceError(f"the connection failed ({masked(str(error))})", kind="lost")


def _origin(entity: Entity) -> str:
    attribute = f" {entity.attribute}" if entity.attribute else ""
    return f"home assistant {entity.entity_id}{attribute}"
