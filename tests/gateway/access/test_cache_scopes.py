"""Nobody measures through a gateway what others have asked, unless they share a salt."""

from __future__ import annotations

import pytest

from p2pinfer.documents.answering.asking import Asker
from p2pinfer.gateway.access.keys import new_key
from p2pinfer.openai_api.work.registry import Models
from tests.gateway.asking import asking, chat, error_of
from tests.gateway.stand_in import StandInModel, serve


async def test_texts_of_different_keys_share_nothing():
    texts, keys = zip(*(new_key(name, created="2026-01-01", limits={}) for name in "ab"), strict=True)
    model = StandInModel()
    async with asking(model, keys=lambda: {key.id: key for key in keys}) as client:
        for text in texts:
            client.headers["authorization"] = f"Bearer {text}"
            assert (await chat(client)).status_code == 200
    assert [one.cache_scope for one in model.requests] == [key.id for key in keys]
    assert [one.cache_salt for one in model.requests] == [None, None]


@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "Hi!"}]}),
        ("completions", {"prompt": "Hi!"}),
        ("responses", {"input": "Hi!"}),
    ],
)
async def test_a_salt_is_handed_on(path: str, prompt: dict[str, object]):
    model = StandInModel()
    async with asking(model) as client:
        body = {"model": "tiny", "cache_salt": "team", **prompt}
        assert (await client.post(f"/v1/{path}", json=body)).status_code == 200
        assert (await client.post(f"/v1/{path}", json=body | {"cache_salt": None})).status_code == 200
    assert [one.cache_salt for one in model.requests] == ["team", None]


@pytest.mark.parametrize("salt", ["", "x" * 257, 5, ["team"]])
async def test_a_salt_is_a_text_of_bounded_length(salt: object):
    async with asking(StandInModel()) as client:
        answer = await chat(client, cache_salt=salt)
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "cache_salt"


async def test_documents_of_different_owners_share_nothing():
    model = StandInModel()
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi!"}]}
    for owner in ("anna", "bert"):
        asker = Asker(Models([serve(model)]), cache_scope=owner)
        await asker.ask("/v1/chat/completions", body)
    assert [one.cache_scope for one in model.requests] == ["anna", "bert"]
