"""The grammars of one model, compiled: clients send the same schema again and again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from p2pinfer.model.grammar.constraint import CompiledGrammar, Grammar
from p2pinfer.model.grammar.vocabulary import Vocabulary

_MOST_GRAMMARS = 64


class Grammars:
    """The grammars that were used last. For the event loop; compiling happens in a thread."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._compiled: OrderedDict[Grammar, CompiledGrammar] = OrderedDict()

    async def compile(self, grammar: Grammar) -> CompiledGrammar:
        """What makes a state of this grammar. Raises UsageError if it can't be enforced, ModelError."""
        compiled = self._compiled.get(grammar)
        if compiled is None:
            compiled = await asyncio.to_thread(CompiledGrammar, self.vocabulary, grammar)
        self._compiled[grammar] = compiled
        self._compiled.move_to_end(grammar)
        while len(self._compiled) > _MOST_GRAMMARS:
            self._compiled.popitem(last=False)
        return compiled
