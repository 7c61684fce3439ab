"""Code generation: a template for what is wanted, the code taken out of the answer, its syntax checked, one repair.

Nothing that a model wrote is run or imported here, and no answer claims that it was. The language and the kind of code come
from closed lists; the user's words stay in the user's message.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Final

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling
from conductor.domain.json import JsonObject
from conductor.domain.model import Category
from conductor.serving.code.blocks import CodeBlock, code_blocks, main_block
from conductor.serving.code.languages import language_named
from conductor.serving.code.syntax import SyntaxVerdict, Thoroughness, checked_syntax
from conductor.serving.engine import Answer, Engine, EngineOptions
from conductor.serving.generations import NO_ROOM, Hearing
from conductor.serving.texts.thoughts import thoughts_apart


class CodeKind(StrEnum):
    """What is to be written."""

    ANY = ""
    FUNCTION = "function"
    CLASS = "class"
    SCRIPT = "script"
    CLI = "cli"
    API_ENDPOINT = "api_endpoint"
    TEST = "test"


class DocStyle(StrEnum):
    """How the code is documented."""

    USUAL = ""
    NONE = "none"
    GOOGLE = "google"
    NUMPY = "numpy"
    SPHINX = "sphinx"
    JSDOC = "jsdoc"
    JAVADOC = "javadoc"
    DOXYGEN = "doxygen"
    XML = "xml"


_KINDS: Final = {
    CodeKind.ANY: "Write complete code with everything that it imports.",
    CodeKind.FUNCTION: "Write one function with typed parameters and result where the language has types; refuse bad "
    "arguments; put what it needs to import before it, and nothing after it.",
    CodeKind.CLASS: "Write one class with a constructor, its public methods and nothing that the task does not need; "
    "put what it needs to import before it.",
    CodeKind.SCRIPT: "Write one script that runs from its first line to its last: imports, constants, functions, and one "
    "entry point that is called only when the file is run.",
    CodeKind.CLI: "Write one command-line program: options with help texts, checked values, errors on standard error, and "
    "exit code 0 only on success.",
    CodeKind.API_ENDPOINT: "Write one HTTP endpoint: parse and check what is sent, answer with fitting status codes, return "
    "errors as JSON, and keep the handling of HTTP apart from the work itself.",
    CodeKind.TEST: "Write tests: each checks one behaviour, is named for it, covers ordinary, boundary and wrong input, and "
    "can fail.",
}
_DOC_STYLES: Final = {
    DocStyle.USUAL: "Document public parts as is usual in the language.",
    DocStyle.NONE: "Write no documentation comments.",
    DocStyle.GOOGLE: "Write docstrings in Google style, with Args, Returns and Raises.",
    DocStyle.NUMPY: "Write docstrings in NumPy style, with Parameters, Returns and Raises sections.",
    DocStyle.SPHINX: "Write docstrings with reStructuredText fields (:param:, :returns:, :raises:).",
    DocStyle.JSDOC: "Write JSDoc comments with @param, @returns and @throws.",
    DocStyle.JAVADOC: "Write Javadoc comments with @param, @return and @throws.",
    DocStyle.DOXYGEN: "Write Doxygen comments with @brief, @param and @return.",
    DocStyle.XML: "Write XML documentation comments with <summary>, <param> and <returns>.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeGenerationOptions(EngineOptions):
    """What is wanted.

    Args:
        language: a name of `code_language.LANGUAGES`; empty leaves it to the model.
        repair: ask once more, with the error, where the syntax is wrong.
    """

    language: str = ""
    kind: CodeKind = CodeKind.ANY
    doc_style: DocStyle = DocStyle.USUAL
    repair: bool = True


class CodeGeneration(Engine[CodeGenerationOptions]):
    """Writes code and looks at its syntax."""

    category = Category("code_generation")
    purpose = "Writes functions, classes, scripts, command lines, endpoints and tests, and checks their syntax."
    options_type = CodeGenerationOptions
    sampling: ClassVar[Sampling] = Sampling(temperature=0.2, top_p=0.95)

    def system_prompt(self, options: CodeGenerationOptions) -> str:
        """Rules and the template of the kind."""
        language = language_named(options.language) if options.language else None
        if options.language and language is None:
            raise InvalidInput(
                f"no language {options.language!r} is known; leave language empty and name it in the prompt",
                field="language",
            )
        wanted = f"Write {language.title}. " if language else ""
        fence = language.name if language else "its language"
        return (
            f"You write code for others to use. {wanted}{_KINDS[options.kind]} {_DOC_STYLES[options.doc_style]}\n"
            f"Put the code into one fenced block marked with {fence}. Before it, at most two sentences; after it, only what "
            "the user must know to use it. You cannot run code: never say that you ran or tested it."
        )

    def conclude(self, prompt: str, options: CodeGenerationOptions, written: str) -> Answer:
        """Blocks and their syntax; `code` is the main block."""
        _, said = thoughts_apart(written)
        language = _wanted(options)
        blocks = code_blocks(said)
        verdicts = [checked_syntax(block.code, block.language) for block in blocks]
        main = main_block(blocks, language)
        facts: JsonObject = {
            "code": main.code if main else "",
            "language": main.language if main else language or "unknown",
            "blocks": [_as_json(block, verdict) for block, verdict in zip(blocks, verdicts, strict=True)],
            "executed": False,
        }
        return Answer(text=said, facts=facts, notes=_notes(blocks, verdicts, main, language))

    async def generate_stream(
        self, prompt: str, options: CodeGenerationOptions
    ) -> AsyncGenerator[Piece | Answer, None]:
        """As `Engine.generate_stream`; a repair follows the first version in the stream, and stands alone in the answer."""
        hearing = Hearing()
        async with self.desk.lease(self.category) as runner:
            asked = self.ask(prompt, options, runner.facts)
            async with aclosing(hearing.listen(runner, asked)) as pieces:
                async for piece in pieces:
                    yield piece
            answer = await asyncio.to_thread(
                self.conclude, prompt, options, hearing.text
            )  # a long program takes a while
            problem = _problem(answer)
            rounds: JsonObject = {"repair": {"asked": False}}
            if problem and options.repair and hearing.finish is Finish.STOP:
                yield Piece(text=f"\n\n[{problem}; a corrected version follows]\n\n")
                note = "one attempt to repair it did not succeed"
                try:
                    async with aclosing(hearing.listen(runner, _repair(asked, answer.text, problem))) as pieces:
                        async for piece in pieces:
                            yield piece
                    repaired = await asyncio.to_thread(self.conclude, prompt, options, hearing.text)
                    better = bool(repaired.facts["blocks"]) and _problem(repaired) is None
                except InvalidInput:  # task, code and complaint together do not fit the context
                    better, note = False, NO_ROOM
                rounds = {"repair": {"asked": True, "error": problem, "succeeded": better}}
                answer = repaired if better else replace(answer, notes=(*answer.notes, note))
        yield hearing.ending()
        yield hearing.answer(answer.text, {**answer.facts, **rounds}, answer.notes)


def _wanted(options: CodeGenerationOptions) -> str:
    language = language_named(options.language) if options.language else None
    return language.name if language else ""


def _as_json(block: CodeBlock, verdict: SyntaxVerdict) -> JsonObject:
    return {
        "language": block.language,
        "file_name": block.file_name,
        "code": block.code,
        "complete": not block.open,
        "syntax": {
            "checked": verdict.thoroughness.value,
            "error": verdict.error,
            "line": verdict.line,
            "remark": verdict.remark,
        },
    }


def _notes(
    blocks: Sequence[CodeBlock], verdicts: Sequence[SyntaxVerdict], main: CodeBlock | None, language: str
) -> tuple[str, ...]:
    if main is None:
        return ("the model wrote no code",)
    notes = [_named(block, verdict) for block, verdict in zip(blocks, verdicts, strict=True) if verdict.error]
    if any(block.open for block in blocks):
        notes.append("the code was cut off; allow more max_tokens")
    if language and main.language != language:
        notes.append(f"{language} was asked for, but the code is {main.language}")
    weak = [verdict for verdict in verdicts if verdict.thoroughness is not Thoroughness.PARSED and not verdict.error]
    notes += list(dict.fromkeys(f"syntax: {verdict.remark}" for verdict in weak))
    return tuple(notes)


def _named(block: CodeBlock, verdict: SyntaxVerdict) -> str:
    where = f" in line {verdict.line}" if verdict.line else ""
    return f"the {block.language} code has a syntax error{where}: {verdict.error}"


def _problem(answer: Answer) -> str | None:
    """The first syntax error, as the notes tell it."""
    return next((note for note in answer.notes if " code has a syntax error" in note), None)


def _repair(asked: Generation, said: str, problem: str) -> Generation:
    request = f"{problem[0].upper()}{problem[1:]}. Write the whole code again with this corrected, in one fenced block."
    return replace(
        asked,
        messages=(
            *asked.messages,
            Message(role=Role.ASSISTANT, content=said),
            Message(role=Role.USER, content=request),
        ),
    )
