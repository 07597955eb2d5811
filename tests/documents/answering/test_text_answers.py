"""A prompt is answered about each text; long texts are cut, or are errors that say so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from p2pinfer.documents.answering.text_answers import document_of
from p2pinfer.documents.inputs.prompts import TextTask
from p2pinfer.documents.inputs.text_files import find_text_files
from p2pinfer.documents.jobs.job import Document, Spent
from p2pinfer.errors import HopFailedError, UsageError
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.types import PeerId
from tests.documents.answering.asked_model import AskedModel, KeptParts

WORDS = [f"word{number:04}" for number in range(300)]
LONG = ". ".join(WORDS) + "."
MAP = TextTask(
    prompt="All: {text}", map_prompt="Piece: {text}", reduce_prompt="Joined: {text}", max_tokens=60
)


def written(folder: Path, text: str | bytes, name: str = "a.txt") -> Document:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    (file,) = find_text_files([str(path)])
    return document_of(0, file)


def first_word(prompt: str) -> str:
    """An answer to a piece: its first word; to answers: all of them, as far as there is room."""
    kind, _, text = prompt.partition(": ")
    return text.split()[0].rstrip(".") if kind == "Piece" else " ".join(text.split())[:60]


def content(outcome) -> str:
    return outcome.body["choices"][0]["message"]["content"]


async def test_a_text_that_fits_is_asked_about_as_it_is(tmp_path: Path):
    model = AskedModel(lambda prompt: "Short.")
    answers = await model.answers(TextTask(prompt="Summarize {name}: {text}", max_tokens=20))
    outcome = await answers.answer(written(tmp_path, "A text with {name}."), KeptParts())

    assert model.asked == ["Summarize a.txt: A text with {name}."]
    assert content(outcome) == "Short."
    assert outcome.spent.decode_tokens == len("Short.")
    assert model.requests[0].max_tokens == 20
    assert model.requests[0].sampling.temperature == 0
    assert model.requests[0].is_background


async def test_a_model_without_conversations_gets_the_prompt_as_it_is(tmp_path: Path):
    model = AskedModel(lambda prompt: "Short.")
    model.chat_template = None
    answers = await model.answers(TextTask(prompt="{text}\nSummary:", max_tokens=20))
    outcome = await answers.answer(written(tmp_path, "A text."), KeptParts())

    assert model.asked == ["A text.\nSummary:"]
    assert outcome.body["choices"][0]["text"] == "Short."


async def test_a_text_that_is_too_long_says_how_to_have_it_cut(tmp_path: Path):
    model = AskedModel(first_word, context_tokens=600)
    answers = await model.answers(TextTask(prompt="All: {text}", max_tokens=60))

    with pytest.raises(ApiError) as refused:
        await answers.answer(written(tmp_path, "x" * 700), KeptParts())
    assert refused.value.code == "context_length_exceeded"
    assert "541 where an answer may have 60: --map cuts" in refused.value.message

    with pytest.raises(ApiError, match="far too many tokens"):
        await answers.answer(written(tmp_path, "x" * 100_000), KeptParts())


async def test_a_text_fits_to_the_last_token(tmp_path: Path):
    model = AskedModel(first_word, context_tokens=600)
    answers = await model.answers(TextTask(prompt="All: {text}", max_tokens=60))
    around = len(model.tokenizer.encode("<|im_start|>user\nAll: <|im_end|>\n"))

    await answers.answer(written(tmp_path, "x" * (541 - around)), KeptParts())
    with pytest.raises(ApiError):
        await answers.answer(written(tmp_path, "x" * (542 - around)), KeptParts())


async def test_a_long_text_is_answered_piece_by_piece_and_then_as_a_whole(tmp_path: Path):
    """Nothing of it is left out, and the answer counts what all pieces took."""
    model, parts = AskedModel(first_word, context_tokens=600), KeptParts()
    outcome = await (await model.answers(MAP)).answer(written(tmp_path, LONG), parts)

    pieces = [prompt.removeprefix("Piece: ") for prompt in model.asked if prompt.startswith("Piece: ")]
    assert "".join(sorted(pieces)) == LONG
    assert content(outcome).startswith("word0000 word00")
    assert outcome.body["p2pinfer"] == {"pieces": len(pieces)}
    total = outcome.spent + parts.spent
    usage = outcome.body["usage"]
    assert usage["completion_tokens"] == total.decode_tokens
    assert usage["prompt_tokens"] == total.prefill_tokens + total.cached_tokens


@pytest.mark.parametrize("room", [0, 1, 3])
async def test_pieces_need_no_more_room_than_there_is(tmp_path: Path, room: int):
    """Also where long texts have taken all of it: each goes on with the room that it has."""
    all_asked = asyncio.Event()

    def counted(prompt: str) -> str:
        if len(model.asked) > room:
            all_asked.set()
        return first_word(prompt)

    model = AskedModel(counted, context_tokens=600)
    model.going.clear()
    answers = await model.answers(MAP, room=room)
    answering = asyncio.create_task(answers.answer(written(tmp_path, LONG), KeptParts()))
    await all_asked.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(model.open_texts) == room + 1

    model.going.set()
    assert content(await answering).startswith("word0000")
    assert answers._room._value == room  # all of it was given back


async def test_answers_that_do_not_fit_together_are_joined_in_steps(tmp_path: Path):
    model, parts = AskedModel(lambda prompt: "y" * 59, context_tokens=400), KeptParts()
    outcome = await (await model.answers(MAP)).answer(written(tmp_path, LONG), parts)

    levels = {name.split("-")[0] for name in parts.kept}
    assert len(levels) > 1
    assert content(outcome) == "y" * 59


async def test_without_a_reduce_prompt_the_prompt_itself_joins(tmp_path: Path):
    model = AskedModel(first_word, context_tokens=600)
    task = TextTask(prompt="All: {text}", map_prompt="Piece: {text}", max_tokens=60)
    await (await model.answers(task)).answer(written(tmp_path, LONG), KeptParts())

    assert model.asked[-1].startswith("All: word0000")


async def test_answers_that_never_fit_together_are_an_error(tmp_path: Path):
    task = TextTask(prompt="{text}", map_prompt="{text}", max_tokens=250)
    model = AskedModel(lambda prompt: "z" * 250, context_tokens=400)

    with pytest.raises(ApiError, match="give a smaller --max-tokens"):
        await (await model.answers(task)).answer(written(tmp_path, LONG), KeptParts())


async def test_after_a_kill_only_what_is_missing_is_asked_again(tmp_path: Path):
    """The answer is the same."""
    document = written(tmp_path, LONG)
    undisturbed = AskedModel(first_word, context_tokens=600)
    whole = await (await undisturbed.answers(MAP)).answer(document, KeptParts())
    parts = KeptParts()
    failing = AskedModel(_failing_to_join, context_tokens=600)
    with pytest.raises(HopFailedError):
        await (await failing.answers(MAP)).answer(document, parts)
    kept = dict(parts.kept)
    assert kept

    resumed = AskedModel(first_word, context_tokens=600)
    outcome = await (await resumed.answers(MAP)).answer(document, parts)

    assert len(resumed.asked) == len(undisturbed.asked) - len(kept)
    assert content(outcome) == content(whole)
    assert outcome.body["usage"] == whole.body["usage"]
    assert outcome.spent + parts.spent == Spent(
        prefill_tokens=whole.body["usage"]["prompt_tokens"] - 3 * len(undisturbed.asked),
        cached_tokens=3 * len(undisturbed.asked),
        decode_tokens=whole.body["usage"]["completion_tokens"],
    )


async def test_parts_of_a_text_that_has_changed_are_not_used(tmp_path: Path):
    parts = KeptParts()
    model = AskedModel(first_word, context_tokens=600)
    await (await model.answers(MAP)).answer(written(tmp_path, LONG), parts)
    other = LONG.replace("word0000", "changed0")
    again = AskedModel(first_word, context_tokens=600)
    outcome = await (await again.answers(MAP)).answer(written(tmp_path, other), KeptParts(parts.kept))

    assert content(outcome).startswith("changed0")
    assert len([prompt for prompt in again.asked if prompt.startswith("Piece")]) == 1


async def test_a_file_that_is_no_text_is_an_error_of_that_document(tmp_path: Path):
    answers = await AskedModel(first_word).answers(MAP)

    with pytest.raises(ApiError, match="isn't UTF-8"):
        await answers.answer(written(tmp_path, b"caf\xe9"), KeptParts())
    document = written(tmp_path, "x", "gone.txt")
    (tmp_path / "gone.txt").unlink()
    with pytest.raises(ApiError, match="can't be read: No such file"):
        await answers.answer(document, KeptParts())


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (TextTask(prompt="x" * 600 + "{text}", max_tokens=60), "--prompt itself has "),
        (
            TextTask(prompt="{text}", map_prompt="x" * 9_000 + "{text}", max_tokens=60),
            "--map itself has far more tokens",
        ),
        (TextTask(prompt="{text}", max_tokens=600), "--max-tokens 600 leaves no room for a text"),
    ],
)
async def test_prompts_that_leave_no_room_are_refused_before_the_job_begins(task: TextTask, said: str):
    with pytest.raises(UsageError) as refused:
        await AskedModel(first_word, context_tokens=600).answers(task)

    assert said in str(refused.value)


async def test_a_system_prompt_needs_a_model_for_conversations():
    model = AskedModel(first_word)
    model.chat_template = None

    with pytest.raises(UsageError, match="--system needs a model for conversations"):
        await model.answers(TextTask(prompt="{text}", system="Be brief.", max_tokens=60))


def _failing_to_join(prompt: str) -> str:
    if prompt.startswith("Joined"):
        raise HopFailedError(PeerId("12D3KooWx"), "it left")
    return first_word(prompt)
