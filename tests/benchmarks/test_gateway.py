"""What scripts/bench_gateway makes of what came, and what it asks for."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from scripts.benchmarks.gateway.events import AnswerError, read_answer
from scripts.benchmarks.gateway.goals import equal_texts, goals_of, quantile, table
from scripts.benchmarks.gateway.loop_lag import Lag
from scripts.benchmarks.gateway.plan import CONTENDERS, GATEWAY, ONE_PROCESS, SESSIONS, questions, turns
from scripts.benchmarks.gateway.schema import WITH, WITHOUT, problem_of
from scripts.benchmarks.gateway.schemas import COSTLY, SCHEMAS

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    return b"data: " + json.dumps({"choices": [choice], "usage": None}).encode() + b"\n\n"


def chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


ROLE = event({"role": "assistant", "content": ""})
HELLO, WORLD, END = event({"content": "Hello"}), event({"content": " world"}), event({}, "length")
USAGE = b'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"


def test_an_answer_is_read_with_the_times_at_which_its_parts_came():
    """A chunk that comes in two halves is there when the second one is."""
    first, second = HEAD + chunk(ROLE) + chunk(HELLO)[:20], chunk(HELLO)[20:]
    answer = read_answer(
        [
            (1.0, first),
            (2.0, second),
            (3.0, chunk(WORLD) + chunk(END + USAGE)),
            (4.0, chunk(DONE) + chunk(b"")),
        ]
    )
    assert answer.text == "Hello world"
    assert answer.first_at == 2.0
    assert answer.last_at == 3.0
    assert answer.completion_tokens == 2
    assert answer.finish_reason == "length"


WHOLE = HEAD + b"".join(map(chunk, (ROLE, HELLO, WORLD + END, USAGE, DONE, b"")))


def test_it_does_not_matter_how_an_answer_was_cut_on_its_way():
    for place in range(1, len(WHOLE)):
        answer = read_answer([(1.0, WHOLE[:place]), (2.0, WHOLE[place:])])
        assert answer.text == "Hello world"
        assert answer.first_at in (1.0, 2.0)


def test_an_answer_that_breaks_off_anywhere_is_an_error():
    needed = WHOLE.index(USAGE) + len(USAGE)
    for place in range(needed):
        with pytest.raises(AnswerError):
            read_answer([(1.0, WHOLE[:place])])


def test_the_bytes_of_each_token_are_read_where_they_are_told():
    told = event({"content": "Hé"}, logprobs={"content": [{"bytes": [72]}, {"bytes": [195, 169]}]})
    answer = read_answer([(1.0, HEAD + chunk(told) + chunk(END) + chunk(USAGE))])
    assert answer.spelled == (b"H", b"\xc3\xa9")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n\r\n{}",
        HEAD + chunk(HELLO),
        HEAD + chunk(HELLO) + chunk(b'data: {"error": {"message": "no route"}}\n\n'),
    ],
    ids=["nothing", "a refusal", "half a stream", "an error in the stream"],
)
def test_what_is_no_whole_answer_is_an_error(data: bytes):
    with pytest.raises(AnswerError):
        read_answer([(1.0, data)])


def test_the_lag_of_a_while_is_the_difference_of_two_readings():
    name = "p2pinfer_gateway_loop_lag_seconds"

    def metrics(few: int, most: int, seconds: float) -> str:
        return (
            f'{name}_bucket{{le="0.001"}} {few}.0\n{name}_bucket{{le="0.01"}} {most - 1}.0\n'
            f'{name}_bucket{{le="+Inf"}} {most}.0\n{name}_count {most}.0\n{name}_sum {seconds}\n'
        )

    lag = Lag.read(metrics(60, 101, 1.5)).since(Lag.read(metrics(0, 1, 0.5)))
    assert lag.looks == 100
    assert lag.mean == pytest.approx(0.01)
    assert lag.at_most(0.5) == 0.001
    assert lag.at_most(0.99) == 0.01
    assert lag.at_most(1.0) == 0.01
    assert lag.plus(lag).looks == 200


def test_a_loop_that_was_never_looked_at_was_never_late():
    assert Lag.read("").mean == 0.0


def test_each_contender_is_first_in_some_round():
    assert {turns(number, CONTENDERS)[0] for number in range(3)} == set(CONTENDERS)


def test_no_question_is_asked_in_two_rounds():
    asked = [text for number in range(20) for text in questions(number, 64)]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one(name: str):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name][1])


@pytest.mark.parametrize("name", COSTLY)
def test_an_answer_to_a_costly_schema_never_ends_early(name: str):
    jsonschema.Draft202012Validator.check_schema(COSTLY[name])
    for short in ({"text": "x" * 500}, {"values": [1] * 100}, {"people": [{"name": "A", "age": 1}] * 40}):
        assert problem_of(json.dumps(short), COSTLY[name]) is not None


def test_an_answer_is_judged_by_what_it_says():
    schema = SCHEMAS["person"][1]
    assert problem_of('{"name": "Ada", "age": 36}', schema) is None
    assert "fit" in str(problem_of('{"name": "Ada", "age": -1}', schema))
    assert "no JSON" in str(problem_of('{"name": "Ada", "ag', schema))


def test_quantiles_are_values_that_were_measured():
    assert quantile([5.0], 0.99) == 5.0
    assert quantile(list(map(float, range(1, 101))), 0.99) == 99.0


def run(seconds: float, texts: list[str]) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "tokens": 100,
        "texts": texts,
        "first_seconds": [0.1, 0.2],
        "cpu_seconds": 0.1,
        "children_cpu_seconds": 0.0,
        "client_cpu_seconds": 0.01,
        "lag": {"buckets": {"0.001": 9.0, "inf": 10.0}, "seconds": 0.1},
    }


def test_a_text_that_differs_is_found():
    runs = {GATEWAY: [run(1, ["a", "b"])], SESSIONS: [run(1, ["a", "c"])], ONE_PROCESS: [run(1, ["a", "b"])]}
    assert equal_texts(runs) == (4, 3)


def test_the_table_names_what_was_missed():
    texts = ["a", "b"]
    cost = {way: [{"seconds": 1.0, "tokens": 80, "cpu_seconds": 0.1}] for way in (WITH, WITHOUT)}
    cost[WITHOUT][0] |= {"tokens": 100}
    measured = {
        "model": "tiny",
        "machine": {"cores": 2},
        "chats": {
            "runs": {
                "likeliest tokens": {
                    GATEWAY: [run(2, texts)],
                    SESSIONS: [run(1, texts)],
                    ONE_PROCESS: [run(1, texts)],
                }
            },
            "exact": {"likeliest tokens": {"compared": 4, "identical": 3}},
            "busy_cores": [1.5],
        },
        "idle": {
            "connections": 10,
            "probes": 1,
            "rounds": [
                {"megabytes": [100.0, 110.0], "alive": 10, "first_seconds": [9.0, 1.0]},
                {"megabytes": [110.0, 110.0], "alive": 9, "first_seconds": [0.1, 0.2]},
            ],
        },
        "memory": {
            "gateway": {"own": 210.0, "children": 60.0, "heavy": []},
            "plain client": {"own": 150.0, "children": 60.0, "heavy": ["torch"]},
        },
        "schema": {
            "outputs": [
                {"schema": "person", "text": "{", "tokens": 1, "problem": "no JSON"},
                {"schema": "book", "text": "{}", "tokens": 9, "problem": None},
            ],
            "cost": {"runs": {"likeliest tokens": cost}, "busy_cores": [0.0]},
        },
    }
    missed = [goal.what.split(" (")[0] for goal in goals_of(measured) if not goal.is_met]
    assert missed == [
        "2 streams: tokens/s, of those of sessions",
        "likeliest tokens: identical tokens",
        "beside 10 silent connections: time to first token",
        "silent connections that stayed open",
        "gateway: most resident memory",
        "answers that fit their JSON schema",
        "likeliest tokens: tokens/s with a schema, of those without",
    ]
    lines = table(measured)
    assert "! other programs kept up to 1.5 cores busy" in lines
    assert "! person: no JSON" in lines
