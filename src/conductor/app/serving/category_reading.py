"""Read from a request in plain words what it wants of a language model, for `model: auto`.

What it orders outright (`serving.asked_outright`) counts. Any other is compared with a few examples of each category by
the sentence encoder: the two nearest examples of a category speak for it. Nothing is trained, so a category without examples
here (an engine of somebody else) is never read, only asked for by name.
"""

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Final

import numpy as np

from conductor.decisions.ports import FloatArray, TextEncoder
from conductor.domain.model import Category
from conductor.serving.asked_outright import asked_outright

#: What is read of a request: its beginning says what is wanted.
_READ_CHARACTERS: Final = 1_000
#: Of the softmax over similarities; chosen so that the examples themselves, each left out, are right and as sure as right.
_TEMPERATURE: Final = 0.035
_NEAREST: Final = 2
#: How sure an order is; what remains is for orders that mean something else.
_OUTRIGHT: Final = 0.95

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "conversational_chat": (
        "hi, how are you today?",
        "tell me something about yourself",
        "I had a bad day at work and need someone to talk to",
        "what would you cook with rice and two eggs?",
        "thanks, that helped a lot",
        "let's chat about football",
        "do you think cats dream?",
        "good morning! any plans for the weekend?",
    ),
    "code_completion": (
        "def fibonacci(n):\n    if n <",
        "for (let i = 0; i < items.length; i++) {",
        "complete this function: public int max(int[] a) {",
        "import numpy as np\n\ndef normalise(x):",
        "finish the line: SELECT name, count(*) FROM users WHERE",
        "continue this code: class Stack: def push(self, x):",
        "fill in the missing part of this function",
    ),
    "code_generation": (
        "write a Python function that removes duplicates from a list",
        "create a REST API in Flask with two endpoints",
        "implement quicksort in Rust",
        "write a bash script that backs up a folder",
        "generate unit tests for this class",
        "build a command line tool that renames photos by date",
        "write a SQL query for the ten best customers",
        "make a React component with a search box",
    ),
    "mathematical_reasoning": (
        "solve x^2 - 5x + 6 = 0",
        "what is the integral of sin(x) from 0 to pi?",
        "compute 17 * 23 - 4",
        "a train leaves at 8 and drives 60 km/h; when does it arrive after 150 km?",
        "prove that the square root of 2 is irrational",
        "find the derivative of x^3 e^x",
        "what is the probability of two sixes with two dice?",
        "simplify the fraction 84/126",
    ),
    "translation": (
        "translate this sentence into French",
        "how do you say good evening in Japanese?",
        "Übersetze den folgenden Text ins Englische",
        "translate to Spanish, formal: please send the invoice",
        "what does this Russian paragraph mean in English?",
        "render these product names in German and Polish",
        "traduis cette lettre en anglais",
    ),
    "scientific_research": (
        "review the literature on graph neural networks",
        "assess the methodology of this study",
        "write a peer review of the attached manuscript",
        "which papers support the claim that sleep improves memory?",
        "critique the statistics of this clinical trial",
        "list references on CRISPR off-target effects",
        "what are the open research questions in battery chemistry?",
    ),
    "legal_analysis": (
        "review this contract for risks",
        "is this non-disclosure agreement fair to the contractor?",
        "find the liability and termination clauses",
        "check our privacy policy against the GDPR",
        "what does section 5.2 of the lease oblige the tenant to do?",
        "which clauses are missing in this employment agreement?",
        "summarise the legal risks of these terms of service",
    ),
    "creative_writing": (
        "write a short story about a lighthouse keeper",
        "a poem about autumn in four stanzas",
        "write a dialogue between a dragon and a tax inspector",
        "invent a fairy tale for a five year old",
        "write the opening scene of a crime novel",
        "song lyrics about leaving home",
        "a limerick about a programmer",
    ),
    "general_reasoning": (
        "explain quantum computing",
        "why is the sky blue?",
        "compare renting and buying a flat",
        "what are the pros and cons of nuclear power?",
        "how does a refrigerator work?",
        "plan a three day trip to Rome",
        "what would happen if the moon disappeared?",
        "which of these two offers is better, and why?",
    ),
    "summarization": (
        "summarise this article in three sentences",
        "give me the main points of the meeting notes",
        "shorten the following text to a headline",
        "tl;dr of this thread",
        "write an abstract for this report",
        "condense these five pages into bullet points",
        "fasse den Text kurz zusammen",
    ),
    "question_answering": (
        "according to the text below, who founded the company?",
        "answer the question using only this passage",
        "based on the document, when does the warranty end?",
        "given this context, what is the refund period?",
        "what does the manual say about cleaning the filter?",
        "read the paragraph and tell me how many people were hurt",
    ),
    "data_extraction": (
        "extract all names and e-mail addresses as JSON",
        "pull the invoice number, date and total out of this text",
        "turn this list of addresses into a table",
        "find every date and amount in the letter and return JSON",
        "fill in this JSON schema from the description",
        "parse the CV into fields: name, jobs, education",
    ),
}


class NearestExamples:
    """The `CategoryReader` of this installation."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    async def categories(self, text: str) -> Mapping[Category, float]:
        """Probabilities of the categories that have examples, summing to 1; of an order, of the one that it names."""
        ordered = asked_outright(text)
        if ordered is not None:
            return {ordered: _OUTRIGHT}
        return await asyncio.to_thread(self._read, text[:_READ_CHARACTERS])

    def _read(self, text: str) -> Mapping[Category, float]:
        names, vectors = self._examples
        return likely(names, vectors @ self._encoder.encode([text]).embeddings[0])

    @cached_property
    def _examples(self) -> tuple[tuple[str, ...], FloatArray]:
        """The category of each example, and their vectors: float32 [examples, width]."""
        pairs = [(name, example) for name, examples in EXAMPLES.items() for example in examples]
        return tuple(name for name, _ in pairs), self._encoder.encode([example for _, example in pairs]).embeddings


def likely(names: tuple[str, ...], similarities: FloatArray) -> Mapping[Category, float]:
    """Probabilities from the similarity [examples] of a text with every example; `names` are their categories."""
    kinds = tuple(dict.fromkeys(names))
    labels = np.array(names)
    scores = np.array([np.sort(similarities[labels == kind])[-_NEAREST:].mean() for kind in kinds])
    weights = np.exp((scores - scores.max()) / _TEMPERATURE)
    shares = weights / weights.sum()
    return {Category(kind): float(share) for kind, share in zip(kinds, shares, strict=True)}
