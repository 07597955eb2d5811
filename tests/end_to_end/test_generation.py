"""Text through three real server processes, each with a part of the model, by transformers' generate()."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TextStreamer,
)

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.errors import PromptTooLongError, UsageError
from p2pinfer.local_swarm.answer import encode_prompt
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from tests.end_to_end.conftest import PROMPTS


def ids_of(tokenizer, text: str) -> torch.Tensor:
    return tokenizer(text, return_tensors="pt").input_ids


def new_tokens(output: torch.Tensor, prompt: torch.Tensor) -> list[int]:
    return output[0, prompt.shape[1] :].tolist()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_64_greedy_tokens_are_those_of_one_process(model, tokenizer, one_process, prompt):
    ids = ids_of(tokenizer, prompt)
    output = model.generate(ids, max_new_tokens=64, min_new_tokens=64, do_sample=False, eos_token_id=None)
    assert new_tokens(output, ids) == one_process.greedy(ids[0].tolist(), 64)


def test_logits_of_a_whole_text_are_those_of_one_process(model, tokenizer, one_process):
    ids = ids_of(tokenizer, PROMPTS[1])
    logits = model(ids).logits
    assert logits.shape == (1, ids.shape[1], model.config.vocab_size)
    assert np.array_equal(logits[0].numpy(), one_process.ends.logits(one_process.hidden(ids[0].tolist())))


def test_hidden_states_are_bit_for_bit_the_same_through_one_three_and_six_processes(
    model, smollm2, tokenizer, one_process
):
    ids = ids_of(tokenizer, " ".join(PROMPTS))[0].tolist()
    alone = one_process.hidden(ids)
    with LocalSwarm() as six:
        six.start(smollm2.folder, split_layers(30, 6), threads=1)
        with AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.folder, initial_peers=six.initial_peers
        ) as through_six:
            for client in (model, through_six):
                with client.remote.session(len(ids)) as session:
                    (hidden,) = session.compute([ids], [len(ids)])
                    hops = len(session.report())
                assert hops == (3 if client is model else 6)
                assert hidden.tobytes() == alone.tobytes()


def test_a_left_padded_batch_gives_the_texts_of_its_prompts_one_by_one(model, tokenizer):
    batch = tokenizer(list(PROMPTS), return_tensors="pt", padding=True)
    together = model.generate(**batch, max_new_tokens=24, do_sample=False, eos_token_id=None)
    for index, prompt in enumerate(PROMPTS):
        ids = ids_of(tokenizer, prompt)
        alone = model.generate(ids, max_new_tokens=24, do_sample=False, eos_token_id=None)
        assert together[index, batch.input_ids.shape[1] :].tolist() == new_tokens(alone, ids)


def test_a_batch_goes_on_for_the_others_when_one_text_has_ended(model, tokenizer):
    """generate() pads finished rows; that must not disturb the other rows."""
    prompts = [PROMPTS[0], PROMPTS[1]]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    first = model.generate(**batch, max_new_tokens=20, do_sample=False, eos_token_id=None)
    stop = int(first[0, batch.input_ids.shape[1] + 2])
    output = model.generate(**batch, max_new_tokens=20, do_sample=False, eos_token_id=stop, pad_token_id=0)
    width = output.shape[1]
    row = first[1, batch.input_ids.shape[1] : width].tolist()
    expected = row[: row.index(stop) + 1] if stop in row else row
    assert output[1, batch.input_ids.shape[1] :].tolist()[: len(expected)] == expected


def test_sampling_with_a_seed_is_repeatable(model, tokenizer):
    ids = ids_of(tokenizer, PROMPTS[1])
    texts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        texts.append(
            model.generate(ids, max_new_tokens=16, do_sample=True, temperature=1.2, top_p=0.95).tolist()
        )
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_streamers_criteria_and_processors_are_transformers_own(model, tokenizer, capsys):
    class Ban(LogitsProcessor):
        def __call__(self, input_ids, scores):
            scores[:, banned] = -float("inf")
            return scores

    class StopAfterFive(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.tensor([input_ids.shape[1] >= ids.shape[1] + 5])

    ids = ids_of(tokenizer, PROMPTS[0])
    banned = new_tokens(model.generate(ids, max_new_tokens=1, do_sample=False), ids)[0]
    output = model.generate(
        ids,
        max_new_tokens=50,
        do_sample=False,
        streamer=TextStreamer(tokenizer, skip_prompt=True),
        logits_processor=LogitsProcessorList([Ban()]),
        stopping_criteria=StoppingCriteriaList([StopAfterFive()]),
    )
    text = new_tokens(output, ids)
    assert len(text) == 5
    assert banned not in text
    assert capsys.readouterr().out.strip() == tokenizer.decode(text).strip()


def test_several_generate_calls_share_one_session(model, tokenizer, one_process):
    """A second turn sends only the new tokens; the text is that of one long generation."""
    ids = ids_of(tokenizer, PROMPTS[3])
    with model.inference_session(max_length=128) as session:
        first = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
        steps_before = session.report()[0].steps
        second = model.generate(first, max_new_tokens=8, do_sample=False, eos_token_id=None)
        assert session.report()[0].steps == steps_before + 8
    assert new_tokens(second, ids) == one_process.greedy(ids[0].tolist(), 16)


def test_a_turn_that_changes_the_text_is_answered_as_if_it_were_new(model, tokenizer, one_process):
    with model.inference_session(max_length=64):
        model.generate(ids_of(tokenizer, PROMPTS[4]), max_new_tokens=4, do_sample=False)
        ids = ids_of(tokenizer, "The three primary colours are blue,")
        output = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert new_tokens(output, ids) == one_process.greedy(ids[0].tolist(), 8)


def test_several_threads_generate_at_once(model, tokenizer, one_process):
    texts: dict[int, list[int]] = {}

    def generate(index: int) -> None:
        ids = ids_of(tokenizer, PROMPTS[index])
        output = model.generate(ids, max_new_tokens=12, do_sample=False, eos_token_id=None)
        texts[index] = new_tokens(output, ids)

    threads = [threading.Thread(target=generate, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {i: one_process.greedy(ids_of(tokenizer, PROMPTS[i])[0].tolist(), 12) for i in range(4)}
    assert texts == expected


def test_the_route_is_reported_hop_by_hop(model, tokenizer):
    model.generate(ids_of(tokenizer, PROMPTS[0]), max_new_tokens=3, do_sample=False)
    report = model.route_report()
    assert [str(hop.layers) for hop in report] == ["0:10", "10:20", "20:30"]
    assert all(hop.steps == 3 and hop.compute_seconds > 0 for hop in report)


def test_a_client_never_opens_a_decoder_layer(three_servers, smollm2, tokenizer, one_process, tmp_path):
    """A client generates from a store that has no layers folder."""
    folder = tmp_path / "ends-only"
    shutil.copytree(smollm2.folder, folder, ignore=shutil.ignore_patterns("layers"))
    assert not (folder / "layers").exists()
    with AutoDistributedModelForCausalLM.from_pretrained(
        folder, initial_peers=three_servers.initial_peers
    ) as client:
        ids = ids_of(tokenizer, PROMPTS[0])
        output = client.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None)
        assert sum(parameter.numel() for parameter in client.parameters()) == 0
    assert new_tokens(output, ids) == one_process.greedy(ids[0].tolist(), 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_beams": 4}, "beam search is not supported"),
        ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens is not supported"),
        ({"inputs_embeds": torch.zeros(1, 2, 576)}, "inputs_embeds is not supported"),
        ({"past_key_values": object()}, "inference_session"),
    ],
)
def test_what_the_swarm_cannot_do_is_refused_at_the_call(model, tokenizer, arguments, message):
    with pytest.raises(UsageError, match=message):
        model.generate(ids_of(tokenizer, PROMPTS[0]), max_new_tokens=2, **arguments)


def test_input_that_makes_no_sense_is_answered_with_what_to_do(model, tokenizer):
    with pytest.raises(UsageError, match="at least one token"):
        model.generate(torch.zeros((1, 0), dtype=torch.long), max_new_tokens=2)
    with pytest.raises(UsageError, match="outside the vocabulary"):
        model.generate(torch.tensor([[999_999]]), max_new_tokens=2)
    with pytest.raises(UsageError, match="padding alone"):
        model.generate(torch.tensor([[1, 2]]), attention_mask=torch.tensor([[0, 0]]), max_new_tokens=2)
    with pytest.raises(PromptTooLongError, match="takes at most 8192"):
        model.generate(torch.ones((1, 8193), dtype=torch.long), max_new_tokens=2)
    with pytest.raises(UsageError, match="from 1 to 8192"), model.inference_session(max_length=9000):
        pass


def test_no_model_comes_into_the_cache_folder_for_a_store(smollm2, three_servers, tmp_path):
    """Only what is remembered of the servers."""
    empty = tmp_path / "cache"
    with AutoDistributedModelForCausalLM.from_pretrained(
        Path(smollm2.folder), initial_peers=three_servers.initial_peers, cache_folder=empty
    ):
        pass
    assert {path.stem for path in empty.glob("*")} <= {"servers-remembered", "peers-remembered"}


def test_int8_on_the_wire_answers_too_and_another_dtype_is_refused(smollm2, three_servers, tokenizer):
    with AutoDistributedModelForCausalLM.from_pretrained(
        smollm2.folder, initial_peers=three_servers.initial_peers, wire_dtype="int8"
    ) as rounding:
        ids = encode_prompt(tokenizer, "What is the capital of Germany?")
        answer = rounding.generate(ids, max_new_tokens=12, do_sample=False)
    assert "Berlin" in tokenizer.decode(answer[0, ids.shape[1] :])
    with pytest.raises(UsageError, match="float32 or int8"):
        AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.folder, initial_peers=["/x"], wire_dtype="fp4"
        )
