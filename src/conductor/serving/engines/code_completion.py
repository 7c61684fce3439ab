"""Code completion: what belongs between the text before the cursor and the text after it, and not a line more.

The prompt is the text before the cursor, as it is; there is no conversation. Where the model fills in, it reads both sides;
where it does not, it reads what comes before, and the answer says so. The language is detected, the completion ends at the
end of its unit (`completion_unit`), and an answer that must come out the same again is remembered.

Not covered: other files of the same project.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Generation, Piece, Sampling, Usage
from conductor.domain.model import Category
from conductor.serving.code.completion_unit import Unit
from conductor.serving.code.language import UNKNOWN, Detected, detect
from conductor.serving.code.languages import language_named
from conductor.serving.engine import Answer, Engine, EngineOptions, ModelDesk
from conductor.serving.generations import Hearing
from conductor.serving.ports import Runner, RunnerFacts
from conductor.serving.texts.trimming import prompt_room, trimmed_text

_REMEMBERED_ANSWERS: Final = 512
_REMEMBERED_CHARACTERS: Final = 4_000_000
#: On each side of the cursor, for the language.
_READ_CHARACTERS: Final = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCompletionOptions(EngineOptions):
    """What surrounds the cursor.

    Args:
        suffix: the text after the cursor.
        file_name: tells the language where its ending is known.
        language: named by the caller; empty detects it.
        whole_unit: False lets the model go on until it ends by itself.
    """

    suffix: str = ""
    file_name: str = ""
    language: str = ""
    whole_unit: bool = True


class CodeCompletion(Engine[CodeCompletionOptions]):
    """Completes code at a cursor; keeps answers that are certain to come out the same again."""

    category = Category("code_completion")
    purpose = (
        "Completes code at the cursor, between what stands before and after it, up to the end of the sensible unit."
    )
    options_type = CodeCompletionOptions
    sampling: ClassVar[Sampling] = Sampling(max_tokens=256, temperature=0.0)

    def __init__(self, desk: ModelDesk, *, persona: str = "") -> None:
        super().__init__(desk, persona=persona)
        self._remembered = RememberedAnswers(answers=_REMEMBERED_ANSWERS, characters=_REMEMBERED_CHARACTERS)

    def forget(self) -> None:
        """Forget all completions."""
        self._remembered = RememberedAnswers(answers=_REMEMBERED_ANSWERS, characters=_REMEMBERED_CHARACTERS)

    def system_prompt(self, options: CodeCompletionOptions) -> str:
        """None: the model goes on with the code."""
        return ""

    def ask(self, prompt: str, options: CodeCompletionOptions, facts: RunnerFacts) -> Generation:
        """The text before the cursor, and after it where the model fills in."""
        if not prompt.strip() and not options.suffix.strip():
            raise InvalidInput("there is no code around the cursor; send prompt or suffix", field="prompt")
        if options.language and language_named(options.language) is None:
            raise InvalidInput(
                f"no language {options.language!r} is known; leave language empty to have it detected", field="language"
            )
        return Generation(
            prompt=prompt,
            suffix=options.suffix if facts.fills_in else "",
            sampling=options.sampling or self.sampling,
        )

    def conclude(self, prompt: str, options: CodeCompletionOptions, written: str) -> Answer:
        """The part of what was written that belongs to the unit."""
        return self._concluded(prompt, options, written, _language(prompt, options))

    def _concluded(self, prompt: str, options: CodeCompletionOptions, written: str, language: Detected) -> Answer:
        unit = _unit(prompt, options, language.name) if options.whole_unit else None
        shown = unit.shown(written, final=True).characters if unit else len(written)
        return Answer(
            text=written[:shown],
            facts={"language": {"name": language.name, "score": language.score, "by": language.by}, "cached": False},
        )

    async def generate_stream(
        self, prompt: str, options: CodeCompletionOptions
    ) -> AsyncGenerator[Piece | Answer, None]:
        """As `Engine.generate_stream`; the generation is ended as soon as the unit has."""
        hearing, remembered = Hearing(), self._remembered  # where it is forgotten meanwhile, this answer is, too
        async with self.desk.lease(self.category) as runner:
            asked = self.ask(prompt, options, runner.facts)
            key = _key(asked, options, runner.facts)
            if key is not None and (known := remembered.find(key)) is not None:
                yield Piece(text=known.text)
                yield Piece(finish=known.finish, usage=known.usage)
                yield known
                return

            async def count(prefix: str, suffix: str) -> int:
                return await runner.count_tokens(replace(asked, prompt=prefix, suffix=suffix))

            room_tokens = prompt_room(runner.facts.context_tokens, asked.sampling.max_tokens)
            before, after = await trimmed_text(asked.prompt, asked.suffix, room_tokens=room_tokens, count=count)
            language = _language(prompt, options)
            unit = _unit(prompt, options, language.name) if options.whole_unit else None
            sent, ended = 0, False
            sending = replace(asked, prompt=before, suffix=after)
            async with aclosing(hearing.listen(runner, sending)) as pieces:
                async for _ in pieces:
                    shown = unit.shown(hearing.text) if unit else None
                    characters = shown.characters if shown else len(hearing.text)
                    if characters > sent:
                        yield Piece(text=hearing.text[sent:characters])
                        sent = characters
                    if shown and shown.ended:
                        ended = True
                        break
            usage = await _counted(runner, sending, hearing.text) if ended else hearing.usage
        answer = self._concluded(prompt, options, hearing.text[:sent] if ended else hearing.text, language)
        if len(answer.text) > sent:
            yield Piece(text=answer.text[sent:])
        dropped = len(asked.prompt) - len(before) + len(asked.suffix) - len(after)
        answer = Answer(
            text=answer.text,
            facts={**answer.facts, "filled_in": bool(asked.suffix), "unread_characters": dropped},
            notes=_notes(options, runner.facts, dropped),
            finish=Finish.STOP if ended else hearing.finish,
            usage=usage,
        )
        if key is not None:
            remembered.keep(key, answer)
        yield Piece(finish=answer.finish, usage=answer.usage)
        yield answer


async def _counted(runner: Runner, asked: Generation, written: str) -> Usage:
    """What a generation took that we ended before it could say so."""
    read = await runner.count_tokens(asked)
    return Usage(prompt_tokens=read, completion_tokens=await runner.count_tokens(Generation(prompt=written)))


class RememberedAnswers:
    """The answers used last, bounded in number and in characters (of keys and answers)."""

    def __init__(self, *, answers: int, characters: int) -> None:
        self._most, self._most_characters = answers, characters
        self._answers: OrderedDict[object, tuple[int, Answer]] = OrderedDict()
        self._characters = 0

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, key: object) -> Answer | None:
        """A remembered answer, said to be one; no tokens were read or written for it."""
        found = self._answers.get(key)
        if found is None:
            return None
        self._answers.move_to_end(key)
        answer = found[1]
        return replace(
            answer, facts={**answer.facts, "cached": True}, usage=Usage(prompt_tokens=0, completion_tokens=0)
        )

    def keep(self, key: object, answer: Answer) -> None:
        """Remember one; those not used for longest give way."""
        size = len(repr(key)) + len(answer.text)
        if size > self._most_characters // 10:
            return
        previous = self._answers.pop(key, None)
        self._characters += size - (previous[0] if previous else 0)
        self._answers[key] = (size, answer)
        while len(self._answers) > self._most or self._characters > self._most_characters:
            _, (gone, _) = self._answers.popitem(last=False)
            self._characters -= gone


def _key(asked: Generation, options: CodeCompletionOptions, facts: RunnerFacts) -> object | None:
    """Everything that the answer depends on; None where it may come out differently, or the model is not told."""
    sampling = asked.sampling
    if not facts.model or not (sampling.temperature == 0 or sampling.seed is not None):
        return None
    return (facts, asked.prompt, options.suffix, options.file_name, options.language, options.whole_unit, sampling)


def _language(prompt: str, options: CodeCompletionOptions) -> Detected:
    if options.language and (named := language_named(options.language)) is not None:
        return Detected(named.name, 1.0, "caller")
    return detect(prompt[-_READ_CHARACTERS:] + options.suffix[:_READ_CHARACTERS], options.file_name)


def _unit(prompt: str, options: CodeCompletionOptions, language: str) -> Unit:
    return Unit(prompt, options.suffix, "" if language == UNKNOWN else language)


def _notes(options: CodeCompletionOptions, facts: RunnerFacts, dropped: int) -> tuple[str, ...]:
    notes = []
    if options.suffix and not facts.fills_in:
        notes.append("the model cannot fill in: it read only the text before the cursor, not the text after it")
    if dropped:
        notes.append(f"{dropped} characters farthest from the cursor did not fit the model's context and were not read")
    return tuple(notes)
