"""How llama.cpp's contender fills its batches: as llama.cpp's own server does."""

from __future__ import annotations

from scripts.benchmarks.contenders.llama.documents import Slot, next_batch


def test_decoding_sequences_come_first_and_prompts_fill_the_rest_of_the_batch():
    decoding = Slot(0, number=5, prompt=[7, 8], given=2, row=[9, 10])
    filling = Slot(1, number=6, prompt=[1, 2, 3, 4, 5, 6], given=1)
    later = Slot(2, number=7, prompt=[11, 12])
    tokens, wanted = next_batch([filling, decoding, later], 5)
    assert tokens == [
        (10, 3, 0, True),
        (2, 1, 1, False),
        (3, 2, 1, False),
        (4, 3, 1, False),
        (5, 4, 1, False),
    ]
    assert wanted == [(0, decoding)]
    assert (filling.given, later.given) == (5, 0)


def test_the_last_token_of_a_prompt_gives_the_first_token_of_the_answer():
    slot = Slot(3, number=0, prompt=[4, 5], given=0)
    tokens, wanted = next_batch([slot], 512)
    assert tokens == [(4, 0, 3, False), (5, 1, 3, True)]
    assert wanted == [(1, slot)]
    assert slot.is_decoding


def test_a_prompt_with_a_shared_beginning_goes_on_behind_it():
    slot = Slot(0, number=0, prompt=[4, 5, 6], given=2)
    assert next_batch([slot], 512)[0] == [(6, 2, 0, True)]


def test_free_sequences_have_no_part_in_a_batch():
    assert next_batch([Slot(0), Slot(1)], 512) == ([], [])
