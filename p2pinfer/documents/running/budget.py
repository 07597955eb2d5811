"""Whether one more document fits a job's budget. Pure."""

from __future__ import annotations


def has_room(most_layer_tokens: int | None, *, spent: int, answered: int, under_way: int) -> bool:
    """True if a document may begin. All but the counts of documents are layer-tokens.

    What a document takes is known when it has ended. Until then it is taken for an average one; and while
    none has been answered, one is under way at a time.

    >>> has_room(100, spent=50, answered=5, under_way=3), has_room(100, spent=50, answered=5, under_way=5)
    (True, False)
    """
    if most_layer_tokens is None:
        return True
    if spent >= most_layer_tokens:
        return False
    if answered == 0:
        return under_way == 0
    return spent * answered + (under_way + 1) * spent <= most_layer_tokens * answered
