"""A prompt has a place for the text; everything else in it stays as it is."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from p2pinfer.documents.inputs.prompts import TextTask, filled
from p2pinfer.errors import UsageError
from p2pinfer.openai_api.whole_answers import read_request


@pytest.mark.parametrize(
    ("prompt", "made"),
    [
        ("Summarize: {text}", "Summarize: T"),
        ("{text}{text} of {name}", "TT of N"),
        ('As JSON {"summary": "..."}: {text}', 'As JSON {"summary": "..."}: T'),
        ("{} {0} {{text}} {Text} { text }", "{} {0} {T} {Text} { text }"),
        ("100 % \\1 {text}", "100 % \\1 T"),
    ],
)
def test_only_the_text_and_the_name_are_put_in(prompt: str, made: str):
    assert filled(prompt, text="T", name="N") == made


def test_what_a_text_has_of_the_kind_stays():
    assert filled("{name}: {text}", text="{name} {text} \\g<1>", name="{text}") == (
        "{text}: {name} {text} \\g<1>"
    )


def test_requests_are_what_the_api_takes():
    task = TextTask(prompt="{text}", system="Be brief.", max_tokens=64, seed=7)
    chat = task.request("tiny", "Hello", is_chat=True)
    plain = task.request("tiny", "Hello", is_chat=False)

    assert read_request("/v1/chat/completions", chat).most_tokens == 64
    assert chat["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    assert read_request("/v1/completions", plain).seed == 7
    assert plain["temperature"] == 0.0


def test_without_a_seed_none_is_sent():
    assert "seed" not in TextTask(prompt="{text}", max_tokens=1).request("tiny", "x", is_chat=True)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (TextTask(prompt="Summarize", max_tokens=1), "--prompt has no {text} in it"),
        (TextTask(prompt="{text}", map_prompt="{name}", max_tokens=1), "--map has no {text}"),
        (
            TextTask(prompt="{text}", map_prompt="{text}", reduce_prompt="", max_tokens=1),
            "--reduce has no {text}",
        ),
        (TextTask(prompt="{text}", reduce_prompt="{text}", max_tokens=1), "give both, or none"),
    ],
)
def test_a_prompt_without_a_place_for_the_text_is_refused(task: TextTask, said: str):
    with pytest.raises(UsageError) as refused:
        task.checked()

    assert said in str(refused.value)


def test_a_task_is_kept_as_json():
    task = TextTask(prompt="{text}", map_prompt="{text}", max_tokens=5, temperature=0.5, seed=-3)

    assert TextTask(**json.loads(json.dumps(asdict(task)))) == task
