"""What requests order outright, and what is left to their likeness."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.app.serving.category_reading import EXAMPLES, NearestExamples
from conductor.serving.asked_outright import asked_outright


@pytest.mark.parametrize(("text", "category"), [
    ("Summarize: The river rose at night, and nobody in the village slept. The old ferryman sang.", "summarization"),
    ("summarise the minutes of the board for me", "summarization"),
    ("Please summarize this love poem in one line: Roses are red …", "summarization"),
    ("Could you please sum up the chapter on dragons?", "summarization"),
    ("TL;DR: the meeting went on for three hours", "summarization"),
    ("Write a short summary of the story of Goldilocks.", "summarization"),
    ("Give me the key points of the talk", "summarization"),
    ("Fasse die folgende Geschichte in zwei Sätzen zusammen: Es war einmal ein König.", "summarization"),
    ("Once upon a time a fox met a crow, who had a cheese.\n\nThe fox sang.\n\nPlease summarize.", "summarization"),
    ("Translate: To be, or not to be", "translation"),
    ("can you translate this bug report to Spanish", "translation"),
    ("Bitte übersetze das ins Englische: Der Vertrag endet im Mai.", "translation"),
    ("Peux-tu traduire, ou mieux : traduis ce texte", None),
    ("Traduis ce poème en allemand", "translation"),
    ("How do you say thank you in Finnish?", "translation"),
    ("Extract the names and dates from this letter: Dear Anna, on 3 May …", "data_extraction"),
    ("I want you to extract every price", "data_extraction"),
    ("please find all invoices in the text and return JSON", "data_extraction"),
    ("Extract the duplicated lines into a function", None),
    ("Extract the line items of the invoice", "data_extraction"),
    ("Extract of vanilla is expensive, why?", None),
    ("Write a function that counts the vowels of a poem", "code_generation"),
    ("write me a Python script to rename photos", "code_generation"),
    ("Can you implement a linked list in Rust?", "code_generation"),
    ("Create unit tests for the story generator", "code_generation"),
    ("Translate this Python code into Go", "code_generation"),
    ("Schreibe eine Funktion, die Primzahlen zählt", "code_generation"),
    ("Write a story about a programmer who translates SQL", "creative_writing"),
    ("please write a sad little poem about autumn", "creative_writing"),
    ("Tell me a fairy tale with a contract in it", "creative_writing"),
    ("Write a script for a short film", None),
    ("Create a training program for a marathon", None),
    ("Complete this function: def area(r):", "code_completion"),
    ("Solve x^2 = 9", "mathematical_reasoning"),
    ("Please prove that the square root of 3 is irrational", "mathematical_reasoning"),
    ("Solve the mystery of the missing scarf", None),
    ("Review this non-disclosure agreement for risks", "legal_analysis"),
    ("Review the literature on sleep and memory", "scientific_research"),
    ("According to the text, who won? The red team won.", "question_answering"),
    ("Based on this document, when does the warranty end?", "question_answering"),
    ("Rewrite this email to go out tomorrow", None),
    ("Rewrite the reply to react more politely", None),
    ("Evaluate these 3 candidates for the job", None),
    ("Calculate 15 % of 80", "mathematical_reasoning"),
    ("Finish this line: Roses are red", None),
    ("Write about the functions of mitochondria", None),
    ("Which of these two orders is clearer?\n\nTranslate the letter.", None),
    ("Correct the grammar:\n\nSummarize you the letter please", None),
    ("convert this snippet to typescript", "code_generation"),
    ("Please do not translate this", None),
    ("Why do people translate poems?", None),
    ("The translator asked me to summarize a book, and I refused. What would you have done?", None),
    ("hello", None),
    ("", None),
])  # fmt: skip
def test_an_order_at_the_head_decides(text: str, category: str | None) -> None:
    assert asked_outright(text) == category


class NoEncoder:
    """Must not be asked."""

    def encode(self, texts: list[str]) -> None:
        raise AssertionError(texts)


@pytest.mark.parametrize("text", ["Summarize: The river rose at night.", f"Translate: {'the river ' * 1000}"])
def test_an_order_needs_no_encoder(text: str) -> None:
    (shares,) = {tuple(asyncio.run(NearestExamples(NoEncoder()).categories(text)).items())}  # type: ignore[arg-type]

    assert shares == ((asked_outright(text), 0.95),)


@given(st.text(max_size=3000))
def test_any_text_is_read(text: str) -> None:
    asked_outright(text)


@pytest.mark.parametrize("word", ["please ", "write a ", "convert ", "extract ", "a\n\n", "fass ", "(", "solve "])
def test_reading_takes_no_longer_than_the_text_is(word: str) -> None:
    began_s = time.process_time()
    asked_outright(word * 100_000)
    assert time.process_time() - began_s < 5


def test_no_order_contradicts_the_examples() -> None:
    heard = {(text, name): asked_outright(text) for name, texts in EXAMPLES.items() for text in texts}

    assert {said: found for said, found in heard.items() if found not in (None, said[1])} == {}
    assert sum(found is not None for found in heard.values()) > len(heard) / 3
