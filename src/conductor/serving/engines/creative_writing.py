"""Creative writing: genre, form and length; a piece that is longer than one generation is written in parts.

Genres and forms come from closed lists, the user's wishes stay in the user's message. The length is measured and said, and
so are the lines that a form demands. A part continues what stands there: the model reads the wish again and the end of the
piece so far, as much of it as fits; what it repeats at the seam is cut.

Not covered: rhyme, metre and syllables.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Final

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling
from conductor.domain.json import JsonObject
from conductor.domain.model import Category
from conductor.serving.engine import Answer, Engine, EngineOptions
from conductor.serving.generations import Hearing
from conductor.serving.ports import Runner, RunnerFacts
from conductor.serving.texts.prose import lines_with_text, overlap, seam, whole_words, word_count
from conductor.serving.texts.thoughts import thoughts_apart
from conductor.serving.texts.trimming import prompt_room

_MOST_WORDS: Final = 50_000
_MOST_PARTS: Final = 60
#: A piece is long enough with this share of the words that were asked for.
_ENOUGH: Final = 0.9
_CLOSE: Final = 0.2
#: Of the piece so far, at most so much is read again.
_READ_AGAIN_CHARACTERS: Final = 6000


class Genre(StrEnum):
    """What kind of story or text."""

    ANY = ""
    FANTASY = "fantasy"
    SCIENCE_FICTION = "science_fiction"
    MYSTERY = "mystery"
    ROMANCE = "romance"
    HORROR = "horror"
    ADVENTURE = "adventure"
    HISTORICAL = "historical"
    COMEDY = "comedy"
    DRAMA = "drama"
    CHILDREN = "children"


class Form(StrEnum):
    """How it is written."""

    STORY = "story"
    FLASH_FICTION = "flash_fiction"
    POEM = "poem"
    HAIKU = "haiku"
    LIMERICK = "limerick"
    SONNET = "sonnet"
    LYRICS = "lyrics"
    SCREENPLAY = "screenplay"
    DIALOGUE = "dialogue"
    ESSAY = "essay"
    LETTER = "letter"


_FORMS: Final = {
    Form.STORY: "Write a story with a beginning, a turn and an end.",
    Form.FLASH_FICTION: "Write flash fiction: one moment, one turn, no chapters.",
    Form.POEM: "Write a poem.",
    Form.HAIKU: "Write one haiku of three lines with 5, 7 and 5 syllables, and nothing else.",
    Form.LIMERICK: "Write one limerick of five lines that rhyme AABBA, and nothing else.",
    Form.SONNET: "Write one sonnet of fourteen lines, and nothing else.",
    Form.LYRICS: "Write lyrics with verses and a chorus, each headed by its name in square brackets.",
    Form.SCREENPLAY: "Write a screenplay: scene headings in capitals (INT. or EXT.), action in the present tense, names "
    "above what is spoken.",
    Form.DIALOGUE: "Write a dialogue; each turn begins with the speaker's name and a colon.",
    Form.ESSAY: "Write an essay with a thesis, arguments and a conclusion.",
    Form.LETTER: "Write a letter with salutation and close.",
}
_LINES: Final = {Form.HAIKU: 3, Form.LIMERICK: 5, Form.SONNET: 14}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreativeOptions(EngineOptions):
    """What is wished for.

    Args:
        words: how long; None leaves it to the model. Not for forms with a fixed number of lines.
    """

    genre: Genre = Genre.ANY
    form: Form = Form.STORY
    words: int | None = None


class CreativeWriting(Engine[CreativeOptions]):
    """Writes pieces of a wished form and length."""

    category = Category("creative_writing")
    purpose = "Writes stories, poems, scenes and essays of a wished genre and length, long ones in parts."
    options_type = CreativeOptions
    sampling: ClassVar[Sampling] = Sampling(temperature=0.9, top_p=0.95, repetition_penalty=1.05)

    def system_prompt(self, options: CreativeOptions) -> str:
        """Form, genre and length."""
        genre = f" The genre is {options.genre.value.replace('_', ' ')}." if options.genre else ""
        length = f" Write about {options.words} words." if options.words else ""
        return (
            f"You are a writer. {_FORMS[options.form]}{genre}{length} Write in the language of the wish. "
            "Give the piece alone: no remarks before or after it."
        )

    def ask(self, prompt: str, options: CreativeOptions, facts: RunnerFacts) -> Generation:
        """The first part."""
        if options.words is not None and not 1 <= options.words <= _MOST_WORDS:
            raise InvalidInput(f"words must be 1 to {_MOST_WORDS}, not {options.words}", field="words")
        if options.words is not None and options.form in _LINES:
            raise InvalidInput(
                f"a {options.form.value} has {_LINES[options.form]} lines; leave words out, or choose the form poem",
                field="words",
            )
        return super().ask(prompt, options, facts)

    def conclude(self, prompt: str, options: CreativeOptions, written: str) -> Answer:
        """The piece and its measures."""
        piece = thoughts_apart(written)[1]
        words, lines = word_count(piece), len(lines_with_text(piece))
        facts: JsonObject = {"words": words, "lines": lines, "wished_words": options.words, "form": options.form.value}
        notes = []
        if options.words and abs(words - options.words) > max(_CLOSE * options.words, 5):
            notes.append(f"the piece has {words} words; {options.words} were wished for")
        if options.form in _LINES and lines != _LINES[options.form]:
            notes.append(f"a {options.form.value} has {_LINES[options.form]} lines; this one has {lines}")
        return Answer(text=piece, facts=facts, notes=tuple(notes))

    async def generate_stream(self, prompt: str, options: CreativeOptions) -> AsyncGenerator[Piece | Answer, None]:
        """As `Engine.generate_stream`, part after part; a seam's repetition never reaches the stream."""
        hearing = Hearing()
        async with self.desk.lease(self.category) as runner:
            asked = self.ask(prompt, options, runner.facts)
            sent = 0
            async with aclosing(hearing.listen(runner, asked)) as pieces:
                async for _ in pieces:
                    settled = whole_words(hearing.text)
                    if settled > sent:
                        yield Piece(text=hearing.text[sent:settled])
                        sent = settled
            end = _end(hearing, "", options)
            if end > sent:
                yield Piece(text=hearing.text[sent:end])
            whole, parts = thoughts_apart(hearing.text[:end])[1], 1
            while parts < _MOST_PARTS and _goes_on(whole, options):
                await hearing.hear(runner, await _next_part(runner, asked, whole, options))
                part = thoughts_apart(hearing.text[: _end(hearing, whole, options)])[1]
                new = part[overlap(whole, part) :]
                if not new.strip():
                    break
                new = seam(whole, new) + new
                yield Piece(text=new)
                whole, parts = whole + new, parts + 1
        concluded = self.conclude(prompt, options, whole)
        notes = concluded.notes
        if hearing.finish is Finish.LENGTH:
            notes = (*notes, "the piece was cut off before its end; allow more max_tokens")
        yield hearing.ending()
        yield hearing.answer(concluded.text, {**concluded.facts, "parts": parts}, notes)


def _goes_on(whole: str, options: CreativeOptions) -> bool:
    """Only a wished length is written in parts; without one, an end or a limit is an end."""
    return bool(whole.strip()) and options.words is not None and word_count(whole) < _ENOUGH * options.words


def _end(hearing: Hearing, before: str, options: CreativeOptions) -> int:
    """Where a part ends: half a word at a limit is left to the next part, which would not go on in its middle."""
    text = hearing.text
    if hearing.finish is Finish.LENGTH and _goes_on(before + " " + text, options):
        return whole_words(text)
    return len(text.rstrip())


async def _next_part(runner: Runner, asked: Generation, whole: str, options: CreativeOptions) -> Generation:
    """The request for the next part: the wish, the end of the piece so far, and how much is left."""
    left = max((options.words or 0) - word_count(whole), 1)
    request = (
        "Continue the piece exactly where it stops. Repeat nothing and explain nothing. "
        f"About {left} words are left; bring it to its end within them."
    )
    room_tokens = prompt_room(runner.facts.context_tokens, asked.sampling.max_tokens)
    kept = min(len(whole), _READ_AGAIN_CHARACTERS)
    while True:
        so_far = whole[len(whole) - kept :]
        going_on = replace(
            asked,
            messages=(
                *asked.messages,
                Message(role=Role.ASSISTANT, content=so_far),
                Message(role=Role.USER, content=request),
            ),
        )
        if kept < 200 or await runner.count_tokens(going_on) <= room_tokens:
            return going_on
        kept //= 2
