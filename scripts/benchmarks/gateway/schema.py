"""Answers that must fit a JSON schema: whether they do, and what it costs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema

from scripts.benchmarks.gateway.connections import Timed, ask_all
from scripts.benchmarks.gateway.plan import (
    TASKS,
    Json,
    Sizes,
    chat_request,
    question,
    seed_of,
    temperature_of,
    turns,
)
from scripts.benchmarks.gateway.process import GatewayProcess
from scripts.benchmarks.gateway.schemas import COSTLY, SCHEMAS, response_format
from scripts.benchmarks.shared.idleness import busy_cores
from scripts.benchmarks.shared.report import say

WITH, WITHOUT = "with a schema", "without"

_AT_ONCE = 16
_MOST_TOKENS = 400
_QUIET_SECONDS = 0.5
_FIRST_QUESTION = 8000
_TIMES_MORE_ROUNDS = 2
"""Than other parts have. Answers are shorter in return."""


async def measure_schema(
    gateway: GatewayProcess, model: str, end_tokens: frozenset[int], sizes: Sizes
) -> Json:
    """Both. `end_tokens` are banned where costs are compared, so that all answers are equally long."""
    return {
        "outputs": await _outputs(gateway.port, model, sizes.outputs),
        "cost": await _cost(gateway, model, end_tokens, sizes),
    }


async def _outputs(port: int, model: str, count: int) -> list[Json]:
    found: list[Json] = []
    names = list(SCHEMAS)
    for first in range(0, count, _AT_ONCE):
        say(f"schema: answers {first} to {min(first + _AT_ONCE, count)}")
        places = range(first, min(first + _AT_ONCE, count))
        chosen = [names[place % len(names)] for place in places]
        bodies = [
            chat_request(
                model,
                f"{SCHEMAS[name][0]} Answer in JSON.",
                tokens=_MOST_TOKENS,
                temperature=1.0,
                seed=seed_of(place),
                more=response_format(name, SCHEMAS[name][1]),
            )
            for name, place in zip(chosen, places, strict=True)
        ]
        answers = await ask_all(port, bodies)
        found += [_judged(name, timed) for name, timed in zip(chosen, answers, strict=True)]
    return found


def _judged(name: str, timed: Timed) -> Json:
    answer = timed.answer
    problem = None if answer.finish_reason == "stop" else f"ended with {answer.finish_reason}"
    return {
        "schema": name,
        "text": answer.text,
        "tokens": answer.completion_tokens,
        "problem": problem or problem_of(answer.text, SCHEMAS[name][1]),
    }


def problem_of(text: str, schema: Json) -> str | None:
    """Why a text isn't JSON that fits a schema; None if it is."""
    try:
        jsonschema.validate(json.loads(text), schema)
    except json.JSONDecodeError as error:
        return f"no JSON: {error}"
    except jsonschema.ValidationError as error:
        return f"doesn't fit: {error.message}"
    return None


async def _cost(gateway: GatewayProcess, model: str, end_tokens: frozenset[int], sizes: Sizes) -> Json:
    """Runs that differ only in having a schema: by task, by way, in rounds, after one that isn't kept.

    Turns are short, and rounds many: what other programs do then meets both ways alike.
    """
    runs: dict[str, dict[str, list[Json]]] = {task: {WITH: [], WITHOUT: []} for task in TASKS}
    busy: list[float] = []
    never_end = {"logit_bias": {str(token): -100 for token in end_tokens}}
    forms = [response_format(name, schema) for name, schema in COSTLY.items()]
    rounds, first = _TIMES_MORE_ROUNDS * sizes.rounds, _FIRST_QUESTION
    for number in range(rounds + 1):
        busy.append(await asyncio.to_thread(busy_cores, _QUIET_SECONDS))
        say(f"schema: round {number} of {rounds}" + (" (warm-up)" if number == 0 else ""))
        for task in TASKS:
            for way in turns(number, [WITH, WITHOUT]):
                bodies = [
                    chat_request(
                        model,
                        f"{question(first + place)} Answer in JSON.",
                        tokens=max(2, sizes.tokens // _TIMES_MORE_ROUNDS),
                        temperature=temperature_of(task),
                        seed=seed_of(place),
                        more=never_end | (forms[place % len(forms)] if way == WITH else {}),
                    )
                    for place in range(sizes.chats)
                ]
                first += sizes.chats  # new questions for each turn: the servers have the beginning of none
                run = await _timed(gateway, bodies)
                say(f"  {task}, {way}: {run['tokens'] / run['seconds']:.1f} tokens/s")
                if number:
                    runs[task][way].append(run)
    return {"runs": runs, "busy_cores": busy}


async def _timed(gateway: GatewayProcess, bodies: list[Json]) -> Json:
    cpu, _ = gateway.cpu_seconds()
    answers = await ask_all(gateway.port, bodies)
    seconds = max(timed.answer.last_at for timed in answers) - min(timed.asked_at for timed in answers)
    return {
        "seconds": seconds,
        "tokens": sum(timed.answer.completion_tokens for timed in answers),
        "cpu_seconds": gateway.cpu_seconds()[0] - cpu,
    }


def all_problems(outputs: list[dict[str, Any]]) -> list[str]:
    """A line for each answer that doesn't fit."""
    return [f"{output['schema']}: {output['problem']}" for output in outputs if output["problem"]]
