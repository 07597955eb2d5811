"""MQTT against a real broker, in the shape that TeslaMate publishes."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from collections.abc import AsyncIterator, Mapping

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from p2pinfer.backoff import Backoff
from p2pinfer.owner.signals.config import Meaning, MqttBroker, MqttTopic
from p2pinfer.owner.signals.persistence import Pauses
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.sources.mqtt import MqttListener
from tests.owner.signals.brokers import (
    PARKED_AT_HOME,
    PASSWORD,
    USER,
    NoGear,
    OneUser,
    amqtt_broker,
    broker_process,
    publish,
)
from tests.owner.signals.watching import Relay, Watch, eventually, free_port, running

CAR = "teslamate/cars/1"
GEAR = f"{CAR}/shift_state"
TOPICS = {
    Signal.PLUGGED_IN: MqttTopic(topic=f"{CAR}/plugged_in"),
    Signal.BATTERY_PERCENT: MqttTopic(topic=f"{CAR}/battery_level"),
    Signal.PARKED: MqttTopic(topic=GEAR, meaning=Meaning(true_when=("P", ""), called="gear")),
    Signal.PLACE: MqttTopic(topic=f"{CAR}/geofence"),
    Signal.IN_USE: MqttTopic(topic=f"{CAR}/is_user_present"),
}
QUICK = Pauses(backoff=Backoff(first_seconds=0.02, most_seconds=0.05), hopeless_seconds=0.05)


def listener(
    port: int,
    watch: Watch,
    topics: Mapping[Signal, MqttTopic] = TOPICS,
    *,
    password: str = "",
    prove_seconds: float = 0.05,
    answer_seconds: float = 1.0,
    tls: bool = False,
) -> MqttListener:
    username = USER if password else ""
    broker = MqttBroker(host="127.0.0.1", port=port, username=username, password=password, tls=tls)
    return MqttListener(
        broker,
        topics,
        watch.known,
        prove_seconds=prove_seconds,
        settle_seconds=0.1,
        answer_seconds=answer_seconds,
        pauses=QUICK,
    )


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Listen to a broker that has the messages of a car, parked at home and plugged in."""
    number = free_port()
    async with amqtt_broker(number, PARKED_AT_HOME):
        yield number


async def test_retained_values_are_known_at_once(port):
    watch = Watch()
    async with running(listener(port, watch).run()):
        await watch.until(lambda: len(watch.known.readings()) == len(TOPICS))

    readings = watch.known.readings()
    assert readings[Signal.PLUGGED_IN].value is True
    assert readings[Signal.BATTERY_PERCENT].value == 81.0
    assert readings[Signal.PARKED].value is True
    assert readings[Signal.PARKED].words == "gear is P"
    assert readings[Signal.PARKED].origin == f"mqtt {GEAR}"
    assert readings[Signal.PLACE].value == "Home"
    assert readings[Signal.IN_USE].value is False
    assert watch.known.troubles() == {}


async def test_a_gear_that_changes_is_told_at_once(port):
    watch = Watch()
    async with running(listener(port, watch).run()):
        await watch.until_known(Signal.PARKED, True)
        await publish(port, {GEAR: "D"})
        await watch.until_known(Signal.PARKED, False)
        assert watch.words(Signal.PARKED) == "gear is D"
        await publish(port, {GEAR: ""})  # asleep
        await watch.until_known(Signal.PARKED, True)
        assert watch.words(Signal.PARKED) == "gear is empty"


@pytest.mark.parametrize("word", ["unavailable", "Unknown", "none", "null", ""])
async def test_a_word_that_says_that_nothing_is_known_counts_only_if_the_owner_lists_it(word):
    topics = {
        Signal.PARKED: MqttTopic(topic="state", meaning=Meaning(true_when=("online",))),
        Signal.PLUGGED_IN: MqttTopic(topic="state", meaning=Meaning(false_when=("offline",))),
        Signal.IN_USE: MqttTopic(topic="state", meaning=Meaning(true_when=("online",), false_when=(word,))),
        Signal.PLACE: MqttTopic(topic="state"),
    }
    number, watch = free_port(), Watch()
    async with amqtt_broker(number, {"state": "online"}):
        async with running(listener(number, watch, topics).run()):
            await watch.until(lambda: len(watch.known.readings()) == 4)
            await publish(number, {"state": word})
            await watch.until_known(Signal.IN_USE, False)
            await watch.until(lambda: len(watch.known.readings()) == 1)
            assert watch.known.troubles().keys() == {"mqtt state"}


async def test_a_gear_deleted_before_we_came_is_not_known(port):
    """The car sleeps, or the topic is misspelt, or hidden from us: nothing tells which."""
    await publish(port, {GEAR: ""})
    watch = Watch()
    async with running(listener(port, watch).run()):
        await watch.until_known(Signal.BATTERY_PERCENT, 81.0)
        await watch.until_trouble(f"mqtt {GEAR}", "nothing is published there")
        assert Signal.PARKED not in watch.known.readings()


async def test_an_emptied_value_that_means_nothing_is_withdrawn(port):
    watch = Watch()
    async with running(listener(port, watch).run()):
        await watch.until_known(Signal.PLUGGED_IN, True)
        await publish(port, {f"{CAR}/plugged_in": ""})
        await watch.until(lambda: Signal.PLUGGED_IN not in watch.known.readings())
        assert "nothing is published" in watch.known.troubles()[f"mqtt {CAR}/plugged_in"]


async def test_values_stay_fresh_while_the_broker_answers(port):
    """TeslaMate publishes changes only: a car that sleeps for a week says nothing."""
    clock = [1000.0]
    watch = Watch(now=lambda: clock[0])
    async with running(listener(port, watch).run()):
        await watch.until(lambda: len(watch.known.readings()) == len(TOPICS))
        changes = watch.changes
        clock[0] += 500.0
        await eventually(lambda: {reading.at for reading in watch.known.readings().values()} == {1500.0})
        assert watch.changes == changes


async def test_values_age_when_the_broker_falls_silent_and_come_back():
    """As when the car leaves the Wi-Fi: the connection stays open, and nothing arrives."""
    clock = [1000.0]
    watch = Watch(now=lambda: clock[0])
    port = free_port()
    async with amqtt_broker(port, PARKED_AT_HOME), Relay.to(port) as relay:
        origin = f"mqtt broker 127.0.0.1:{relay.port}"
        async with running(listener(relay.port, watch, answer_seconds=0.2).run()):
            await watch.until(lambda: len(watch.known.readings()) == len(TOPICS))
            relay.fall_silent()
            await watch.until(lambda: origin in watch.known.troubles())
            clock[0] += 500.0
            await watch.until_trouble(origin, "doesn't answer")
            assert {reading.at for reading in watch.known.readings().values()} == {1000.0}

            changes = watch.changes
            relay.speak()
            await watch.until(lambda: {reading.at for reading in watch.known.readings().values()} == {1500.0})
            await watch.until(lambda: watch.known.troubles() == {})
            assert watch.changes > changes


async def test_a_broker_that_is_killed_and_starts_again_is_found_again():
    port = free_port()
    watch = Watch()
    origin = f"mqtt broker 127.0.0.1:{port}"
    async with running(listener(port, watch).run()):
        await watch.until(lambda: watch.known.troubles() == {origin: "connection refused"})
        async with broker_process(port):
            await publish(port, PARKED_AT_HOME)
            await watch.until_known(Signal.PARKED, True)
            await watch.until(lambda: watch.known.troubles() == {})
        await watch.until(lambda: origin in watch.known.troubles())
        assert watch.value(Signal.PARKED) is True  # it ages; the policy decides when it is too old
        async with broker_process(port):
            await publish(port, {GEAR: "R"})
            await watch.until_known(Signal.PARKED, False)


async def test_a_value_of_before_is_not_vouched_for_by_a_new_connection_that_has_not_heard_it(port):
    """It may have changed meanwhile, and an unretained message isn't sent again."""
    clock = [1000.0]
    watch = Watch(now=lambda: clock[0])
    origin = f"mqtt {CAR}/outlet"
    topics = {Signal.PLUGGED_IN: MqttTopic(topic=f"{CAR}/outlet")}
    async with Relay.to(port) as relay, running(listener(relay.port, watch, topics).run()):
        await watch.until_trouble(origin, "nothing is published there")
        await publish(port, {f"{CAR}/outlet": "on"}, retain=False)
        await watch.until_known(Signal.PLUGGED_IN, True)
        clock[0] += 100.0
        await eventually(lambda: watch.known.readings()[Signal.PLUGGED_IN].at == 1100.0)
        relay.cut()
        clock[0] += 100.0
        await watch.until_trouble(origin, "nothing is published there")
        assert watch.known.readings()[Signal.PLUGGED_IN].at == 1100.0


async def test_a_message_that_is_too_old_no_longer_counts_though_the_broker_lives(port):
    """Repetitions by the broker don't make it younger; a new message does."""
    watch = Watch()
    topic = MqttTopic(topic=f"{CAR}/battery_level", meaning=Meaning(max_age_seconds=0.3))
    async with running(listener(port, watch, {Signal.BATTERY_PERCENT: topic}).run()):
        await watch.until_known(Signal.BATTERY_PERCENT, 81.0)
        await watch.until_trouble(f"mqtt {CAR}/battery_level", "nothing new has been published")
        assert watch.value(Signal.BATTERY_PERCENT) is None
        await publish(port, {f"{CAR}/battery_level": "82"})
        await watch.until_known(Signal.BATTERY_PERCENT, 82.0)


async def test_a_wrong_password_is_named_and_the_right_one_works():
    port = free_port()
    async with amqtt_broker(port, plugin=OneUser):
        await publish(port, PARKED_AT_HOME)
        wrong, right = Watch(), Watch()
        sources = (listener(port, wrong, password="wrong"), listener(port, right, password=PASSWORD))
        async with running(*(source.run() for source in sources)):
            await wrong.until_trouble(f"mqtt broker 127.0.0.1:{port}", "refuses this user name or password")
            await right.until_known(Signal.PARKED, True)
            assert wrong.known.readings() == {}


async def test_a_topic_that_may_not_be_read_is_named_and_hides_no_other():
    port = free_port()
    watch = Watch()
    async with (
        amqtt_broker(port, PARKED_AT_HOME, plugin=NoGear),
        running(listener(port, watch).run()),
    ):
        await watch.until_known(Signal.PLUGGED_IN, True)
        await watch.until_trouble(f"mqtt {GEAR}", "doesn't allow us to read it")
        assert Signal.PARKED not in watch.known.readings()


async def test_over_tls_the_certificate_counts(tmp_path, monkeypatch):
    """One's own authority is named to OpenSSL, as for any other program."""
    port = free_port()
    certificate = tmp_path / "broker.pem"
    certificate.write_bytes(_certificate())
    origin = f"mqtt broker 127.0.0.1:{port}"
    async with amqtt_broker(port, certificate=certificate):
        strange, known, plain = Watch(), Watch(), Watch()
        async with running(listener(port, strange, tls=True).run()):
            await strange.until_trouble(origin, "its certificate can't be verified")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with running(listener(port, known, tls=True).run()):
            await known.until_trouble(f"mqtt {GEAR}", "nothing is published there")
            assert origin not in known.known.troubles()
        async with running(listener(port, plain, answer_seconds=0.2).run()):
            await plain.until(lambda: origin in plain.known.troubles())


def _certificate() -> bytes:
    """For 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "rubbish",
    [b"\xff\xfe", b"NaN", b"1e999", b"x" * 70_000, b"[" * 60_000, b'{"level": 3}', b"81 %", "٤٢".encode()],
)
async def test_rubbish_withdraws_the_signal_and_hurts_nothing_else(port, rubbish):
    watch = Watch()
    async with running(listener(port, watch).run()) as tasks:
        await watch.until_known(Signal.BATTERY_PERCENT, 81.0)
        await publish(port, {f"{CAR}/battery_level": rubbish})
        await watch.until(lambda: Signal.BATTERY_PERCENT not in watch.known.readings())
        assert f"mqtt {CAR}/battery_level" in watch.known.troubles()
        await publish(port, {f"{CAR}/battery_level": "50", GEAR: "N"})
        await watch.until_known(Signal.BATTERY_PERCENT, 50.0)
        await watch.until_known(Signal.PARKED, False)
        assert watch.known.troubles() == {}
        assert not tasks[0].done()


async def test_one_topic_can_tell_several_signals(port):
    topics = {
        Signal.PRICE: MqttTopic(topic="evcc", meaning=Meaning(json_path=("tariff", "grid"))),
        Signal.WATTS: MqttTopic(topic="evcc", meaning=Meaning(json_path=("loads", "0", "kw"), scale=1000.0)),
    }
    watch = Watch()
    async with running(listener(port, watch, topics).run()):
        await publish(port, {"evcc": '{"tariff": {"grid": 0.28}, "loads": [{"kw": 1.5}]}'})
        await watch.until_known(Signal.PRICE, 0.28)
        await watch.until_known(Signal.WATTS, 1500.0)
        assert watch.words(Signal.PRICE) == "grid is 0.28"


async def test_what_is_no_topic_is_named_and_hides_no_other(port):
    topics = {Signal.PARKED: TOPICS[Signal.PARKED], Signal.PRICE: MqttTopic(topic="a/#/b")}
    watch = Watch()
    async with running(listener(port, watch, topics).run()):
        await watch.until_known(Signal.PARKED, True)
        assert watch.known.troubles() == {"mqtt a/#/b": "this is not a valid topic"}


async def test_leaving_takes_no_time_in_the_midst_of_connecting():
    """Somebody accepts the connection and says nothing: `running` sees to it that we leave anyway."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()
        writer.close()

    accepted = asyncio.Event()
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with running(listener(port, Watch(), answer_seconds=30.0).run()):
        await asyncio.wait_for(accepted.wait(), 30)
    server.close()


async def test_a_broker_that_never_answers_costs_no_socket_for_each_attempt():
    open_now = set()
    total = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal total
        open_now.add(writer)
        total += 1
        await reader.read()
        open_now.discard(writer)
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    watch = Watch()
    async with running(listener(port, watch, answer_seconds=0.05).run()):
        await watch.until_trouble(f"mqtt broker 127.0.0.1:{port}", "doesn't answer as a broker")
        await eventually(lambda: total >= 6)
    await eventually(lambda: not open_now)
    server.close()
