"""Many streams at once, in turns: through the gateway, through sessions, and by one `TextModel`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from p2pinfer.client.texts.request import TextRequest
from p2pinfer.client.texts.text_model import TextModel
from p2pinfer.model.sampling.options import SamplingOptions
from scripts.benchmarks.gateway.connections import ask_all, get_text
from scripts.benchmarks.gateway.loop_lag import Lag
from scripts.benchmarks.gateway.plan import (
    CONTENDERS,
    GATEWAY,
    GREEDY,
    ONE_PROCESS,
    SESSIONS,
    TASKS,
    Json,
    Sizes,
    chat_request,
    questions,
    seed_of,
    temperature_of,
    turns,
)
from scripts.benchmarks.gateway.process import GatewayProcess
from scripts.benchmarks.gateway.without import Made, Sessions, make_texts
from scripts.benchmarks.shared.idleness import busy_cores
from scripts.benchmarks.shared.report import say

_QUIET_SECONDS = 0.5


class Rivals:
    """Who makes the same texts: one gateway, and this process."""

    def __init__(self, gateway: GatewayProcess, model: TextModel, sessions: Sessions) -> None:
        self.gateway = gateway
        self.model = model
        self.sessions = sessions

    def bodies(self, asked: Sequence[str], tokens: int, task: str, more: Json | None = None) -> list[Json]:
        """The requests to the gateway."""
        return [
            chat_request(
                self.model.name,
                text,
                tokens=tokens,
                temperature=temperature_of(task),
                seed=seed_of(place),
                more=more,
            )
            for place, text in enumerate(asked)
        ]

    def prompts(self, asked: Sequence[str]) -> list[list[int]]:
        """The token ids of the questions, by the model's template."""
        return [self.model.chat_tokens([{"role": "user", "content": text}]) for text in asked]

    def requests(self, asked: Sequence[str], tokens: int, task: str) -> list[TextRequest]:
        """The requests to the model in this process."""
        return [
            TextRequest(
                prompt=prompt,
                max_tokens=tokens,
                sampling=SamplingOptions(temperature=temperature_of(task), seed=seed_of(place)),
            )
            for place, prompt in enumerate(self.prompts(asked))
        ]

    async def turn(self, contender: str, asked: Sequence[str], tokens: int, task: str) -> dict[str, Any]:
        """Let one contender make the texts. `cpu_seconds` are those of the process that makes them."""
        if contender == GATEWAY:
            return await self._through_gateway(self.bodies(asked, tokens, task))
        began = time.process_time()
        if contender == SESSIONS:
            made = await asyncio.to_thread(self.sessions.make, self.prompts(asked), tokens)
        else:
            made = await make_texts(self.model, self.requests(asked, tokens, task))
        return _run(made) | {"cpu_seconds": time.process_time() - began}

    async def _through_gateway(self, bodies: Sequence[Json]) -> dict[str, Any]:
        lag = Lag.read(await get_text(self.gateway.port, "/metrics"))
        cpu, own = self.gateway.cpu_seconds(), time.process_time()
        start = time.perf_counter()
        answers = await ask_all(self.gateway.port, bodies)
        seconds = max(timed.answer.last_at for timed in answers) - start
        client = time.process_time() - own
        spent = [after - before for before, after in zip(cpu, self.gateway.cpu_seconds(), strict=True)]
        lag = Lag.read(await get_text(self.gateway.port, "/metrics")).since(lag)
        return {
            "seconds": seconds,
            "tokens": sum(timed.answer.completion_tokens for timed in answers),
            "texts": [timed.answer.text for timed in answers],
            "first_seconds": [timed.first_seconds for timed in answers],
            "cpu_seconds": spent[0],
            "children_cpu_seconds": spent[1],
            "client_cpu_seconds": client,
            "lag": {"buckets": lag.buckets, "seconds": lag.seconds},
        }

    async def exact(self, asked: Sequence[str], tokens: int, task: str) -> dict[str, int]:
        """Compare the tokens of all contenders; the gateway tells those that it shows.

        A contender that chooses only the likeliest tokens has no part in the rest.
        """
        streamed = await ask_all(self.gateway.port, self.bodies(asked, tokens, task, {"logprobs": True}))
        made = [await make_texts(self.model, self.requests(asked, tokens, task))]
        if task == GREEDY:
            made.append(await asyncio.to_thread(self.sessions.make, self.prompts(asked), tokens))
        spell = self.model.tokenizer.token_bytes
        compared = identical = 0
        for place, timed in enumerate(streamed):
            told = timed.answer.spelled
            for other in made:
                spelled = [spell(token) for token in other.tokens[place]]
                compared += max(len(told), len(spelled))
                identical += sum(one == two for one, two in zip(told, spelled, strict=False))
        return {"compared": compared, "identical": identical}


async def measure_chats(rivals: Rivals, sizes: Sizes) -> dict[str, Any]:
    """All rounds, after one that isn't kept. Runs by task, by contender, in the order of the rounds."""
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {task: {} for task in TASKS}
    busy: list[float] = []
    for number in range(sizes.rounds + 1):
        busy.append(await asyncio.to_thread(busy_cores, _QUIET_SECONDS))
        say(f"chats: round {number} of {sizes.rounds}" + (" (warm-up)" if number == 0 else ""))
        for task in TASKS:
            asked = questions(2 * number + TASKS.index(task), sizes.chats)
            contenders = CONTENDERS if task == GREEDY else (GATEWAY, ONE_PROCESS)
            for contender in turns(number, contenders):
                run = await rivals.turn(contender, asked, sizes.tokens, task)
                say(f"  {task}, {contender}: {run['tokens'] / run['seconds']:.1f} tokens/s")
                if number:
                    runs[task].setdefault(contender, []).append(run)
    say("chats: comparing tokens")
    exact = {
        task: await rivals.exact(questions(900 + place, sizes.chats), sizes.tokens, task)
        for place, task in enumerate(TASKS)
    }
    return {"runs": runs, "exact": exact, "busy_cores": busy}


def _run(made: Made) -> dict[str, Any]:
    return {
        "seconds": made.seconds,
        "tokens": made.completion_tokens,
        "texts": made.texts,
        "first_seconds": made.first_seconds,
    }
