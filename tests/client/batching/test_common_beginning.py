"""Where the instruction of a batch ends is seen from its texts."""

from __future__ import annotations

from p2pinfer.client.batching.common_beginning import CommonBeginning
from p2pinfer.client.prefixes.scope import EVERYBODY, Scope

INSTRUCTION = list(range(100))


def document(number: int) -> list[int]:
    return [*INSTRUCTION, 1000 + number, 7, 7]


def test_the_third_document_of_a_batch_says_where_the_instruction_ends():
    beginning = CommonBeginning()
    assert [beginning.tokens(document(number), EVERYBODY) for number in range(4)] == [0, 0, 100, 100]


def test_two_documents_that_are_alike_by_chance_change_nothing():
    beginning = CommonBeginning()
    for number in range(3):
        beginning.tokens(document(number), EVERYBODY)
    assert beginning.tokens([*document(2), 8], EVERYBODY) == 100
    assert beginning.tokens([*document(2), 9], EVERYBODY) == 103  # until there are three
    assert beginning.tokens(document(5), EVERYBODY) == 100


def test_texts_with_nothing_in_common_share_nothing():
    beginning = CommonBeginning()
    texts = ([1, 2], [3, 4], [3, 5], [1, 2], [1, 2])
    assert [beginning.tokens(text, EVERYBODY) for text in texts] == [0, 0, 0, 0, 0]


def test_what_another_scope_asks_is_not_looked_at():
    beginning = CommonBeginning()
    others = Scope("anna")
    assert [
        beginning.tokens(document(n), scope) for n, scope in enumerate((EVERYBODY, EVERYBODY, others, others))
    ] == [0] * 4
