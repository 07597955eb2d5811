"""The documents: words of the licence of this project, in another order in each, behind one instruction."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scripts.benchmarks.shared.child import ROOT

INSTRUCTION_TOKENS = 300
LEAST_TOKENS, MOST_TOKENS = 200, 800
"""Of a document, without the instruction."""

ANSWER_TOKENS = 32

_SOURCE = ROOT / "LICENSE"
_SENTENCE = re.compile(r"[^.;:]+[.;:]")
_RULES = """You read parts of contracts and licences for people who have no time to read them. Below is \
one document. Its sentences are in no order, and some of them are cut off: take them as they are.

Work by these rules:
1. Say first, in one sentence, what the document allows a reader to do, and to whom it gives the permission.
2. Say then what the reader must do in return: which notices to keep, which files to mark as changed, which \
copies to hand on, and when a permission ends by itself.
3. Name every person or company that the document speaks of by the word that the document uses, such as \
Licensor, Contributor, Legal Entity or You. Do not invent names, and do not use the names of real companies.
4. Write numbers as digits. Write percentages with the sign. Keep the numbers of sections as they are written.
5. If the document refuses a warranty or limits what anybody is liable for, say so in a sentence of its own \
that begins with the word "Warning".
6. If two sentences contradict each other, quote both of them, and say that they do.
7. Leave out what is only an example, a definition that no other sentence uses, or an address.
8. Use plain words. No sentence is longer than 20 words. Use no brackets, no lists and no headings.
9. Write in the language of the document. Do not translate words that the document defines.
10. If there is nothing to say by these rules, answer with the single word "Nothing", and with nothing else.

People act on what you write, and nobody checks it after you: say only what the document says. Do not \
advise, do not judge, and do not repeat these rules in the answer.
"""
_END = "\n\nThe document:\n\n"


class Encoding(Protocol):
    """What is needed of a tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The tokens of a text."""

    def decode(self, ids: Sequence[int], /) -> str:
        """The text of tokens."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The prompts of all documents, by number: the same ones in every run with the same tokenizer."""

    tokenizer: Encoding
    sentences: tuple[str, ...]

    @classmethod
    def load(cls, tokenizer: Encoding, source: Path = _SOURCE) -> Corpus:
        """Read the sentences."""
        return cls(tokenizer, tuple(sentences_of(source.read_text(encoding="utf-8"))))

    def instruction(self) -> list[int]:
        """The `INSTRUCTION_TOKENS` tokens that all prompts begin with."""
        end = self.tokenizer.encode(_END, add_special_tokens=False)
        tokens = self.tokenizer.encode(_RULES)[: INSTRUCTION_TOKENS - len(end)] + end
        assert len(tokens) == INSTRUCTION_TOKENS, f"the instruction has only {len(tokens)} tokens"
        return tokens

    def document(self, number: int) -> list[int]:
        """The tokens of one document. No two are alike: a number is their first word."""
        wanted = length_of(number)
        text = f"Document {number:06}. " + shuffled(self.sentences, number, words=MOST_TOKENS)
        tokens = self.tokenizer.encode(text, add_special_tokens=False)
        assert len(tokens) >= wanted, f"document {number} has only {len(tokens)} tokens"
        return tokens[:wanted]

    def prompts(self, numbers: Sequence[int]) -> list[list[int]]:
        """The whole prompts of some documents."""
        instruction = self.instruction()
        return [instruction + self.document(number) for number in numbers]

    def texts(self, numbers: Sequence[int]) -> list[str]:
        """The same as texts, for programs that take these."""
        return [self.tokenizer.decode(prompt) for prompt in self.prompts(numbers)]


def sentences_of(text: str) -> list[str]:
    """The sentences and clauses of a text, each on one line.

    >>> sentences_of("One; and\\n  two. Three: 3.")
    ['One;', 'and two.', 'Three:', '3.']
    """
    return [sentence.strip() for sentence in _SENTENCE.findall(" ".join(text.split()))]


def length_of(number: int) -> int:
    """How many tokens a document has: even between the least and the most, drawn by its number."""
    return random.Random(f"length {number}").randint(LEAST_TOKENS, MOST_TOKENS)


def shuffled(sentences: Sequence[str], number: int, *, words: int) -> str:
    """The sentences in the order of a document, with at least so many words: each has a token or more."""
    order = random.Random(f"order {number}")
    chosen: list[str] = []
    count = 0
    while count < words:
        for sentence in order.sample(sentences, len(sentences)):
            chosen.append(sentence)
            count += len(sentence.split())
            if count >= words:
                break
    return " ".join(chosen)
