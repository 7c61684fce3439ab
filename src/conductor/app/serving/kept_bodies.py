"""The bytes in which answers are kept, and how they are read back: parts of a generation as JSON, vectors as numbers.

What is read was written here, by the same version of the program; which answers are kept at all is `kept_answers`'.
"""

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from conductor.domain.generation import Finish, Piece, TokenScore, ToolCall, Usage
from conductor.serving.engine import Answer


def body_of_parts(parts: Sequence[Piece | Answer]) -> bytes:
    """What was written, piece by piece.

    Raises:
        TypeError, ValueError: an engine's facts cannot be written as JSON.
    """
    return json.dumps([_written(part) for part in parts], separators=(",", ":")).encode("ascii")


def parts_of_body(body: bytes) -> list[Piece | Answer]:
    """As they were written; `usage` says that the whole prompt was known from before."""
    return [_part(each) for each in json.loads(body)]


def body_of_vector(vector: Sequence[float], tokens: int) -> bytes:
    """Tokens, and the numbers: in 32 bits where that loses nothing, as with most models."""
    short = array("f", vector)
    numbers = short if list(short) == list(vector) else array("d", vector)
    return json.dumps([tokens, numbers.typecode]).encode("ascii") + b"\n" + numbers.tobytes()


def vector_of_body(body: bytes) -> tuple[list[float], int]:
    """The numbers, and the tokens of their text."""
    head, _, numbers = body.partition(b"\n")
    tokens, typecode = json.loads(head)
    return list(array(typecode, numbers)), tokens


def _written(part: Piece | Answer) -> Mapping[str, Any]:
    if isinstance(part, Piece):
        return {name: value for name, value in asdict(part).items() if value not in ("", (), None)}
    return {
        "answer": {
            "text": part.text,
            "facts": part.facts,
            "notes": part.notes,
            "finish": part.finish,
            "usage": asdict(part.usage),
        }
    }


def _part(document: dict[str, Any]) -> Piece | Answer:
    answer = document.get("answer")
    if answer is None:
        return Piece(
            text=document.get("text", ""),
            reasoning=document.get("reasoning", ""),
            tool_calls=tuple(ToolCall(**call) for call in document.get("tool_calls", ())),
            scores=tuple(
                TokenScore(one["token"], one["logprob"], tuple((token, value) for token, value in one["top"]))
                for one in document.get("scores", ())
            ),
            finish=None if (finish := document.get("finish")) is None else Finish(finish),
            usage=None if (usage := document.get("usage")) is None else _usage(usage),
        )
    return Answer(
        text=answer["text"],
        facts=answer["facts"],
        notes=tuple(answer["notes"]),
        finish=Finish(answer["finish"]),
        usage=_usage(answer["usage"]),
    )


def _usage(document: Mapping[str, int]) -> Usage:
    return Usage(**{**document, "cached_tokens": document["prompt_tokens"]})
