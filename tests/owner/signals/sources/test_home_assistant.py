"""Home Assistant, against a real WebSocket server that speaks its protocol."""

from __future__ import annotations

import json

import pytest

from p2pinfer.backoff import Backoff
from p2pinfer.owner.signals.config import Entity, HomeAssistant, Meaning
from p2pinfer.owner.signals.persistence import Pauses
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.sources.home_assistant import HomeAssistantListener
from tests.owner.signals.home import TOKEN, Home
from tests.owner.signals.watching import Relay, Watch, eventually, free_port, running

PLUG, CAR, PRICE = "binary_sensor.car_plugged", "device_tracker.car", "sensor.electricity_price"
AT_HOME = {PLUG: ("on", {}), CAR: ("home", {"battery": 64, "gps": [1, 2]}), PRICE: ("0.31", {})}
ENTITIES = {
    Signal.PLUGGED_IN: Entity(entity_id=PLUG),
    Signal.PLACE: Entity(entity_id=CAR),
    Signal.BATTERY_PERCENT: Entity(entity_id=CAR, attribute="battery"),
    Signal.PRICE: Entity(entity_id=PRICE, meaning=Meaning(called="price of a kWh")),
}
QUICK = Pauses(backoff=Backoff(first_seconds=0.02, most_seconds=0.05), hopeless_seconds=0.05)


def listener(
    url: str, watch: Watch, entities=ENTITIES, *, token: str = TOKEN, answer_seconds: float = 1.0
) -> HomeAssistantListener:
    return HomeAssistantListener(
        HomeAssistant(url=url, token=token),
        entities,
        watch.known,
        prove_seconds=0.05,
        answer_seconds=answer_seconds,
        pauses=QUICK,
    )


async def test_states_and_attributes_are_known_at_once():
    watch = Watch()
    async with Home.at_home(AT_HOME) as home, running(listener(home.url, watch).run()):
        await watch.until(lambda: len(watch.known.readings()) == len(ENTITIES))

    assert {signal: watch.value(signal) for signal in ENTITIES} == {
        Signal.PLUGGED_IN: True,
        Signal.PLACE: "home",
        Signal.BATTERY_PERCENT: 64.0,
        Signal.PRICE: 0.31,
    }
    assert watch.words(Signal.PLUGGED_IN) == "car plugged is on"
    assert watch.words(Signal.PRICE) == "price of a kWh is 0.31"
    assert watch.known.readings()[Signal.BATTERY_PERCENT].origin == f"home assistant {CAR} battery"
    assert watch.known.troubles() == {}


async def test_changes_are_told_at_once():
    watch = Watch()
    async with Home.at_home(AT_HOME) as home, running(listener(home.url + "/", watch).run()):
        await watch.until_known(Signal.PRICE, 0.31)
        await home.set(PLUG, "off")
        await watch.until_known(Signal.PLUGGED_IN, False)
        await home.set(CAR, battery=63)
        await watch.until_known(Signal.BATTERY_PERCENT, 63.0)
        await home.drop_attribute(CAR, "battery")
        await watch.until_trouble(f"home assistant {CAR} battery", "no such attribute")
        assert watch.value(Signal.PLACE) == "home"


@pytest.mark.parametrize("state", ["unavailable", "unknown"])
async def test_an_entity_that_home_assistant_has_lost_is_withdrawn_with_its_attributes(state):
    watch = Watch()
    async with Home.at_home(AT_HOME) as home, running(listener(home.url, watch).run()):
        await watch.until_known(Signal.BATTERY_PERCENT, 64.0)
        await home.set(CAR, state)
        await watch.until(lambda: Signal.BATTERY_PERCENT not in watch.known.readings())
        assert Signal.PLACE not in watch.known.readings()
        assert state in watch.known.troubles()[f"home assistant {CAR}"]
        await home.set(CAR, "home")
        await watch.until_known(Signal.BATTERY_PERCENT, 64.0)
        assert watch.known.troubles() == {}


@pytest.mark.parametrize("word", ["unavailable", "unknown", "none", ""])
async def test_a_word_that_says_that_nothing_is_known_counts_only_if_the_owner_lists_it(word):
    entities = {
        Signal.PARKED: Entity(entity_id=PLUG, meaning=Meaning(true_when=("on",))),
        Signal.PLUGGED_IN: Entity(entity_id=PLUG, meaning=Meaning(false_when=("off",))),
        Signal.IN_USE: Entity(entity_id=PLUG, meaning=Meaning(true_when=("on",), false_when=(word,))),
        Signal.PROGRAM: Entity(entity_id=PLUG),
        Signal.PLACE: Entity(entity_id=PLUG, attribute="place"),
    }
    watch = Watch()
    async with Home.at_home({PLUG: ("on", {"place": "Home"})}) as home:
        async with running(listener(home.url, watch, entities).run()):
            await watch.until(lambda: len(watch.known.readings()) == 5)
            await home.set(PLUG, word, place=None)
            await watch.until_known(Signal.IN_USE, False)
            await watch.until(lambda: len(watch.known.readings()) == 1)


async def test_an_entity_that_does_not_exist_is_named():
    watch = Watch()
    states = {PLUG: ("on", {}), PRICE: ("0.31", {})}
    async with Home.at_home(states) as home, running(listener(home.url, watch).run()):
        await watch.until_trouble(f"home assistant {CAR}", "no such entity")
        await watch.until_known(Signal.PLUGGED_IN, True)
        await home.remove(PLUG)
        await watch.until_trouble(f"home assistant {PLUG}", "no such entity")
        assert Signal.PLUGGED_IN not in watch.known.readings()
        await home.send({"a": {PLUG: {"s": "off", "a": {}}}})
        await watch.until_known(Signal.PLUGGED_IN, False)


async def test_values_stay_fresh_while_it_answers():
    clock = [1000.0]
    watch = Watch(now=lambda: clock[0])
    async with Home.at_home(AT_HOME) as home, running(listener(home.url, watch).run()):
        await watch.until(lambda: len(watch.known.readings()) == len(ENTITIES))
        clock[0] += 500.0
        await eventually(lambda: {reading.at for reading in watch.known.readings().values()} == {1500.0})
        await eventually(lambda: home.questions > 2)


async def test_values_age_when_it_falls_silent_and_come_back():
    clock = [1000.0]
    watch = Watch(now=lambda: clock[0])
    async with Home.at_home(AT_HOME) as home:
        async with running(listener(home.url, watch, answer_seconds=0.15).run()):
            await watch.until(lambda: len(watch.known.readings()) == len(ENTITIES))
            home.silent = True
            await watch.until_trouble(f"home assistant {home.url}", "doesn't answer within 0.15 s")
            clock[0] += 500.0
            assert {reading.at for reading in watch.known.readings().values()} == {1000.0}
            home.silent = False
            await watch.until(lambda: {reading.at for reading in watch.known.readings().values()} == {1500.0})
            await watch.until(lambda: watch.known.troubles() == {})


async def test_it_is_found_again_after_it_was_away():
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    watch = Watch()
    async with running(listener(url, watch).run()):
        await watch.until(lambda: watch.known.troubles() == {f"home assistant {url}": "connection refused"})
        async with Home.at_home(AT_HOME, port) as home:
            await watch.until_known(Signal.PLUGGED_IN, True)
            await home.hang_up()
            await watch.until_trouble(f"home assistant {url}", "closed the connection")
            await watch.until(lambda: watch.known.troubles() == {})
        await watch.until(lambda: f"home assistant {url}" in watch.known.troubles())
        async with Home.at_home({**AT_HOME, PLUG: ("off", {})}, port):
            await watch.until_known(Signal.PLUGGED_IN, False)


async def test_a_cable_that_is_cut_is_noticed():
    watch = Watch()
    async with Home.at_home(AT_HOME) as home, Relay.to(int(home.url.rpartition(":")[2])) as relay:
        url = f"http://127.0.0.1:{relay.port}"
        async with running(listener(url, watch).run()):
            await watch.until_known(Signal.PLUGGED_IN, True)
            await watch.until(lambda: watch.known.troubles() == {})
            relay.cut()
            await watch.until(lambda: f"home assistant {url}" in watch.known.troubles())
            await watch.until(lambda: watch.known.troubles() == {})


async def test_a_token_that_is_refused_is_named():
    watch = Watch()
    async with Home.at_home(AT_HOME) as home, running(listener(home.url, watch, token="wrong").run()):
        await watch.until_trouble(f"home assistant {home.url}", "refuses the access token")
    assert watch.known.readings() == {}


async def test_a_message_that_is_too_old_no_longer_counts():
    watch = Watch()
    entities = {Signal.PRICE: Entity(entity_id=PRICE, meaning=Meaning(max_age_seconds=0.2))}
    async with Home.at_home(AT_HOME) as home, running(listener(home.url, watch, entities).run()):
        await watch.until_known(Signal.PRICE, 0.31)
        await watch.until_trouble(f"home assistant {PRICE}", "nothing new has been published")
        await home.set(PRICE)  # written again, with the same value
        await watch.until_known(Signal.PRICE, 0.31)


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "x",
        {"a": [], "c": 3, "r": "x"},
        {"c": {PRICE: {"+": {"s": {"deep": [1]}}}}},
        {"c": {PRICE: {"+": {"s": "NaN"}}}},
        {"c": {PRICE: {"+": {"s": None, "a": 7}, "-": {"a": [[], {}]}}}},
        {"a": {PRICE: None}},
        {"r": [[], {}, 4]},
    ],
)
async def test_events_that_make_no_sense_hurt_nothing(event):
    watch = Watch()
    async with Home.at_home(AT_HOME) as home, running(listener(home.url, watch).run()) as tasks:
        await watch.until_known(Signal.PRICE, 0.31)
        await home.send(event)
        await home.set(PRICE, "0.5")
        await watch.until_known(Signal.PRICE, 0.5)
        assert not tasks[0].done()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        "[]",
        "3",
        "{}",
        '{"type": "result"}',
        "no JSON",
        '{"type":"event","id":[]}',
        "x" * 5_000_000,
    ],
)
async def test_messages_that_make_no_sense_only_cost_the_connection(text, caplog):
    watch = Watch()
    async with Home.at_home(AT_HOME) as home, running(listener(home.url, watch).run()) as tasks:
        await watch.until(lambda: len(watch.known.readings()) == 4 and watch.known.troubles() == {})
        await home.send_raw(text)
        await watch.until(lambda: f"home assistant {home.url}" in watch.known.troubles())
        await watch.until(lambda: watch.known.troubles() == {})
        assert not tasks[0].done()
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("greeting", ["[]", "no JSON", "{}", json.dumps({"type": "auth_required"})])
async def test_who_is_not_home_assistant_is_named(greeting):
    watch = Watch()
    async with Home.at_home(AT_HOME) as home:
        home.greeting = greeting
        async with running(listener(home.url, watch).run()):
            await watch.until_trouble(f"home assistant {home.url}", "doesn't behave like Home Assistant")


async def test_another_web_server_is_named():
    watch = Watch()
    async with Home.at_home(AT_HOME) as home, running(listener(f"{home.url}/shop", watch).run()):
        await watch.until_trouble(
            f"home assistant {home.url}/shop", "there is no Home Assistant (HTTP status 404)"
        )


@pytest.mark.parametrize("url", ["", "homeassistant", "ftp://x", "http://", "http://x:y", "http://[::1"])
async def test_an_address_that_is_none_is_named(url):
    watch = Watch()
    async with running(listener(url, watch).run()):
        await watch.until_trouble(f"home assistant {url}", "this is not an address")


async def test_leaving_takes_no_time_though_it_is_silent():
    watch = Watch()
    async with Home.at_home(AT_HOME) as home, Relay.to(int(home.url.rpartition(":")[2])) as relay:
        async with running(listener(f"http://127.0.0.1:{relay.port}", watch).run()):
            await watch.until(lambda: len(watch.known.readings()) == 4)
            relay.fall_silent()
        relay.speak()
