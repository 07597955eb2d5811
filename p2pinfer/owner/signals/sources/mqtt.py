"""Signals that are published over MQTT, as TeslaMate, OpenEVSE and evcc do.

Such programs publish changes only, as retained messages. So a value counts for as long as the broker
delivers. To know that, we subscribe again to the same topics every few seconds: the answer proves that the
broker is alive, works with every access list, publishes nothing into the household, and brings the retained
values again.

An empty retained message deletes the retained one, so a client that connects later receives nothing.
TeslaMate's `shift_state` does this when the car falls asleep. Silence is never taken for a value: a misspelt
topic, or a topic that an access list hides, is silent too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

from aiomqtt import Client, Message, MqttError, Wildcard
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.reasoncodes import ReasonCode

from p2pinfer.outside.url_secrets import masked
from p2pinfer.owner.signals.config import MqttBroker, MqttTopic
from p2pinfer.owner.signals.known import Known
from p2pinfer.owner.signals.meaning import is_listed, make_sense, text_of
from p2pinfer.owner.signals.persistence import USUAL_PAUSES, Pauses, keep_connected, together
from p2pinfer.owner.signals.reach import reach
from p2pinfer.owner.signals.readings import KINDS, Signal
from p2pinfer.owner.signals.trouble import SourceError
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.threads import in_thread

_KEEPALIVE_SECONDS = 15  # the broker drops us after 1.5 times this silence
_CLOSING_SECONDS = 0.25

_REACH_IT = "start the broker, or correct host and port in [mqtt]"
_CORRECT_IT = "correct it in [signals]"
_LOOK = "look at the topic with mosquitto_sub"

_silence = logging.Logger("aiomqtt")  # we report the same errors in plain words
_silence.disabled = True


class MqttListener:
    """All topics of one broker."""

    def __init__(
        self,
        broker: MqttBroker,
        topics: Mapping[Signal, MqttTopic],
        known: Known,
        *,
        prove_seconds: float = 15.0,
        settle_seconds: float = 2.0,
        answer_seconds: float = 5.0,
        pauses: Pauses = USUAL_PAUSES,
    ) -> None:
        self._broker = broker
        self._topics = dict(topics)
        self._known = known
        self._prove_seconds = prove_seconds
        self._settle_seconds = settle_seconds  # a broker has sent all retained messages by then
        self._answer_seconds = answer_seconds
        self._pauses = pauses
        self._origin = f"mqtt broker {broker.host}:{broker.port}"
        self._heard: set[Signal] = set()  # on this connection
        self._payloads: dict[Signal, bytes] = {}  # the last messages, of any connection

    async def run(self) -> None:
        """Listen until cancelled."""
        for signal, topic in list(self._topics.items()):
            try:
                Wildcard(topic.topic)
            except ValueError:
                error = SourceError("this is not a valid topic", kind="no topic", advice=_CORRECT_IT)
                self._known.withdraw(signal, origin=_origin(topic), error=error)
                del self._topics[signal]
        if self._topics:
            await keep_connected(self._known, self._origin, self._topics, self._listen, self._pauses)

    async def _listen(self, established: Callable[[], None]) -> None:
        """Connect, and listen until the connection ends. Raises SourceError."""
        self._heard.clear()
        await reach(
            self._broker.host,
            self._broker.port,
            timeout_seconds=self._answer_seconds,
            advice=_REACH_IT,
        )
        try:
            async with self._connected() as client:
                await together(self._hear(client), self._prove(client, established))
        except MqttError as error:
            raise _in_words(error) from None

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        context = (
            await in_thread(ssl.create_default_context, name="owner-signal") if self._broker.tls else None
        )
        client = Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username or None,
            password=self._broker.password or None,
            identifier=f"p2pinfer-{secrets.token_hex(6)}",
            keepalive=_KEEPALIVE_SECONDS,
            timeout=self._answer_seconds,
            tls_context=context,
            logger=_silence,
        )
        entering = asyncio.ensure_future(client.__aenter__())
        try:
            try:
                await asyncio.shield(entering)
            except asyncio.CancelledError:
                # A thread that connects can't be stopped: it would leave an open connection behind.
                await asyncio.wait({entering}, timeout=_CLOSING_SECONDS)
                raise
            yield client
        finally:
            # Also after a failure to connect: aiomqtt keeps the socket then, and a broker that accepts us
            # and stays silent would cost us one socket each time. `entering` is cancelled last, because
            # aiomqtt fails on a cancelled `__aenter__` when the socket closes. No asyncio.timeout here:
            # before Python 3.11.4 it lets the cancellation through in a task that was cancelled before,
            # and `entering` would live on.
            leaving = asyncio.ensure_future(client.__aexit__(None, None, None))
            try:
                await asyncio.wait({leaving}, timeout=_CLOSING_SECONDS)
            finally:
                await cancel_and_wait(leaving, entering)

    async def _hear(self, client: Client) -> None:
        async for message in client.messages:
            for signal, topic in self._topics.items():
                if message.topic.matches(topic.topic):
                    self._take(signal, topic, message)

    def _take(self, signal: Signal, topic: MqttTopic, message: Message) -> None:
        """Use a message. A broker marks it as retained if it only repeats it because we subscribed again."""
        payload = message.payload if isinstance(message.payload, bytes) else b""
        self._heard.add(signal)
        if message.retain and self._payloads.get(signal) == payload:
            self._known.vouch([signal])
            return
        self._payloads[signal] = payload
        self._understand(signal, topic, payload)

    def _understand(self, signal: Signal, topic: MqttTopic, payload: bytes) -> None:
        meaning = topic.meaning
        try:
            text = text_of(payload)
            if not text and not is_listed("", meaning):
                raise SourceError("nothing is published there any more", kind="empty", advice=_LOOK)
            told = make_sense(text, meaning, KINDS[signal], subject=topic.topic.rsplit("/", 1)[-1])
        except SourceError as error:
            self._known.withdraw(signal, origin=_origin(topic), error=error)
            return
        self._known.tell(signal, told, origin=_origin(topic), max_age_seconds=meaning.max_age_seconds)

    async def _prove(self, client: Client, established: Callable[[], None]) -> None:
        """Subscribe, and subscribe again every few seconds, which proves that the broker delivers."""
        await self._subscribe(client)
        established()
        await asyncio.sleep(self._settle_seconds)
        while True:
            await self._subscribe(client)
            for signal, topic in self._topics.items():
                if signal not in self._heard:
                    error = SourceError(
                        "nothing is published there, or we may not read it", kind="silence", advice=_LOOK
                    )
                    self._known.complain(signal, origin=_origin(topic), error=error)
            self._known.vouch(self._heard)
            await asyncio.sleep(self._prove_seconds)

    async def _subscribe(self, client: Client) -> None:
        names = list(dict.fromkeys(topic.topic for topic in self._topics.values()))
        answers = await client.subscribe([(name, 1) for name in names])
        refused = {
            name
            for name, answer in zip(names, answers, strict=False)
            if isinstance(answer, ReasonCode) and answer.is_failure
        }
        for signal, topic in self._topics.items():
            if topic.topic in refused:
                self._heard.discard(signal)
                self._payloads.pop(signal, None)
                error = SourceError(
                    "the broker doesn't allow us to read it",
                    kind="not allowed",
                    advice="allow it in the broker's access list",
                )
                self._known.withdraw(signal, origin=_origin(topic), error=error)


def _origin(topic: MqttTopic) -> str:
    return f"mqtt {topic.topic}"


def _in_words(error: MqttError) -> SourceError:
    if isinstance(error, MqttConnectError):
        return _refusal(str(error.rc).casefold())
    said = masked(str(error))
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return SourceError("its certificate can't be verified", kind="certificate", hopeless=True)
    if "timed out" in said:
        return SourceError(
            "it accepts connections, but doesn't answer as a broker", kind="silent", advice=_REACH_IT
        )
    return SourceError("the connection was lost", kind="lost")


def _refusal(reason: str) -> SourceError:
    # Brokers use both words for an unknown name, a wrong password, and a name that may not connect.
    if "password" in reason or "authori" in reason:
        return SourceError(
            "it refuses this user name or password",
            kind="denied",
            advice="put the right ones into [mqtt]",
            hopeless=True,
        )
    return SourceError(f"it refuses the connection: {reason}", kind="refused")
