"""GGUF files with random weights through llama.cpp, several requests at a time."""

import json
import queue
import threading
from pathlib import Path
from typing import Any

import pytest

gguf = pytest.importorskip("gguf", reason="the package `gguf`, which writes the test's models, is not installed")
pytest.importorskip("xllamacpp", reason="the extra `gguf` is not installed")

from tests.minds.test_gguf import write_llama  # noqa: E402

from conductor.adapters.runners.llama_cpp_engine import LlamaCppEngine  # noqa: E402
from conductor.domain.errors import ConductorError, InvalidInput, ModelError  # noqa: E402
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling, Tool  # noqa: E402

LIMIT_S = 60.0


def loaded(path: Path) -> LlamaCppEngine:
    return LlamaCppEngine(
        path, name="tiny", available_bytes=64 << 30, key="secret", threads=1, most_rows=4, most_context_tokens=1024,
        measure_bytes=lambda: 1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> LlamaCppEngine:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_llama(path, "F32")
    return loaded(path)


class Hearing:
    """One request's pieces; it is over with `finish` or an error."""

    def __init__(self, engine: LlamaCppEngine, number: int, asked: Generation) -> None:
        self.said: queue.Queue[Piece | ConductorError] = queue.Queue()
        self.began = threading.Event()
        engine.begin(number, asked, self._tell)

    def _tell(self, said: Piece | ConductorError) -> None:
        self.said.put(said)
        self.began.set()

    def pieces(self) -> list[Piece]:
        found: list[Piece] = []
        while not found or found[-1].finish is None:
            said = self.said.get(timeout=LIMIT_S)
            if isinstance(said, ConductorError):
                raise said
            found.append(said)
        return found


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def greedy(prompt: str, tokens: int = 24, **how: Any) -> Generation:
    return Generation(prompt=prompt, sampling=Sampling(max_tokens=tokens, temperature=0, **how))


def test_together_they_write_what_they_write_alone(engine: LlamaCppEngine) -> None:
    prompts = ["the work", "training", "a of the", "GPU device"]
    alone = [text(Hearing(engine, n, greedy(prompt)).pieces()) for n, prompt in enumerate(prompts)]
    together = [Hearing(engine, 10 + n, greedy(prompt)) for n, prompt in enumerate(prompts)]

    assert [text(each.pieces()) for each in together] == alone
    assert len(set(alone)) > 1


def test_usage_and_bounds(engine: LlamaCppEngine) -> None:
    last = Hearing(engine, 20, greedy("the work", 7)).pieces()[-1]

    assert last.finish is Finish.LENGTH
    assert last.usage is not None
    assert last.usage.completion_tokens == 7
    assert last.usage.prompt_tokens == engine.count_tokens(greedy("the work"))
    with pytest.raises(InvalidInput, match="context"):
        Hearing(engine, 21, greedy("the work " * 900)).pieces()
    with pytest.raises(InvalidInput, match="empty"):
        Hearing(engine, 22, greedy("")).pieces()


def test_an_answer_in_a_form_always_is_of_that_form(engine: LlamaCppEngine) -> None:
    form = {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["kind", "n"],
        "additionalProperties": False,
    }
    turns = (Message(role=Role.USER, content="hi"),)
    for seed in range(6):
        how = Sampling(max_tokens=120, temperature=1, seed=seed)
        asked = Generation(messages=turns, form=form, sampling=how)
        answer = json.loads(text(Hearing(engine, 30 + seed, asked).pieces()))
        assert answer["kind"] in ("a", "b")
        assert answer["n"] in range(10)
    with pytest.raises(InvalidInput):
        Hearing(engine, 40, Generation(messages=turns, form={"type": "thing"})).pieces()
    with pytest.raises(InvalidInput, match="send messages"):
        Hearing(engine, 41, Generation(prompt="hi", form=form)).pieces()


def test_a_tool_that_must_be_called_is_called(engine: LlamaCppEngine) -> None:
    number = {"type": "integer", "minimum": 0, "maximum": 9}
    parameters = {"type": "object", "properties": {"n": number}, "required": ["n"], "additionalProperties": False}
    asked = Generation(
        messages=(Message(role=Role.USER, content="look"),),
        tools=(Tool(name="look_up", parameters=parameters), Tool(name="add", parameters=parameters)),
        tool_choice="look_up",
        sampling=Sampling(max_tokens=120, temperature=1, seed=3),
    )
    pieces = Hearing(engine, 45, asked).pieces()

    (call,) = pieces[-1].tool_calls
    assert text(pieces) == ""
    assert pieces[-1].finish is Finish.TOOL_CALLS
    assert call.name == "look_up"
    assert json.loads(call.arguments)["n"] in range(10)


def test_cancelling_stops_the_generation(engine: LlamaCppEngine) -> None:
    hearing = Hearing(engine, 50, greedy("the work", 900))
    assert hearing.began.wait(LIMIT_S)
    engine.cancel(50)
    others = [Hearing(engine, 51 + n, greedy("the work", 5)) for n in range(4)]  # as many as there are slots

    assert all(each.pieces()[-1].finish is not None for each in others)
    assert not any(getattr(said, "finish", None) for said in list(hearing.said.queue))


def test_log_probabilities_are_told(engine: LlamaCppEngine) -> None:
    pieces = Hearing(engine, 60, greedy("the work", 3, top_scores=2)).pieces()
    scores = [score for piece in pieces for score in piece.scores]

    assert len(scores) >= 1
    assert all(score.logprob <= 0 and len(score.top) == 2 for score in scores)


def test_embeddings_are_unit_vectors(engine: LlamaCppEngine) -> None:
    vectors, usage = engine.embed(["the work", "training of the device"])

    assert [sum(x * x for x in vector) for vector in vectors] == pytest.approx([1, 1], abs=1e-4)
    assert vectors[0] != vectors[1]
    assert usage.prompt_tokens > 4


def test_what_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="no GGUF"):
        loaded(path)
