"""What an utterance wants: the shipped reader, the rules over it, and rows of a file."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.converse.arrangement import a_snapshot, a_task

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.intent_reader.reader import SHIPPED, LinearIntentReader
from conductor.decisions.converse.intents import choose_intent, read_intents
from conductor.decisions.converse.small_talk import examples_for
from conductor.domain.errors import StorageError
from conductor.domain.intent import Intent
from conductor.domain.task import TaskState

TASK_ID = "t06gzw9j5rhwxn3csz2"
EVEN = dict.fromkeys(Intent, 1 / 9)
HOLDOUT = Path(__file__).parents[2] / "recipes" / "mind" / "data" / "intents_holdout.jsonl"


@pytest.fixture(scope="module")
def reader() -> LinearIntentReader:
    return LinearIntentReader(OnnxEncoder())


def intent_of(reader: LinearIntentReader, text: str) -> Intent:
    return choose_intent(text, reader.read([text])[0])


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Why is the network slow?", Intent.PERFORMANCE_ANALYSIS),
        ("Which device is best for video encoding?", Intent.DEVICE_ADVICE),
        ("Why did you choose GPU for the last task?", Intent.EXPLAIN_DECISION),
        ("What is the system status?", Intent.STATUS),
        ("transcode holiday.mov to h265", Intent.SCHEDULE_TASK),
        ("cancel my rendering job", Intent.CANCEL_TASK),
        ("list the nodes", Intent.LIST_NODES),
        ("which models are loaded?", Intent.LIST_MODELS),
        ("what is the capital of France?", Intent.OFF_TOPIC),
        ("¿Por qué va todo tan lento?", Intent.PERFORMANCE_ANALYSIS),
        ("Welche Rechner sind angemeldet?", Intent.LIST_NODES),
        ("annule la tâche de rendu", Intent.CANCEL_TASK),
        ("how hot is the machine", Intent.STATUS),
        ("Wie warm sind die Rechner?", Intent.STATUS),
        ("Welche Aufgaben laufen?", Intent.STATUS),
        ("Warum ist das Netz langsam?", Intent.PERFORMANCE_ANALYSIS),
        ("quelles tâches tournent ?", Intent.STATUS),
        ("¿Qué nodos hay?", Intent.LIST_NODES),
        ("list the jobs", Intent.STATUS),
        ("schedule sort the names", Intent.SCHEDULE_TASK),
        ('schedule "transcode a.mp4"', Intent.SCHEDULE_TASK),
        ("top fashion models of the year", Intent.OFF_TOPIC),
        ("the queue at the airport is so slow", Intent.OFF_TOPIC),
        ("What can you do?", Intent.OFF_TOPIC),
        ("thanks a lot", Intent.OFF_TOPIC),
    ],
)
def test_plain_questions_are_understood(reader: LinearIntentReader, text: str, intent: Intent) -> None:
    assert intent_of(reader, text) is intent


def test_most_of_the_hold_out_is_understood(reader: LinearIntentReader) -> None:
    rows = [json.loads(line) for line in HOLDOUT.read_text(encoding="utf-8").splitlines()]

    said = list(read_intents(reader, [(row["id"], row["text"]) for row in rows]))

    assert [row["id"] for row in said] == [row["id"] for row in rows]
    right = sum(mine["intent"] == row["intent"] for mine, row in zip(said, rows, strict=True))
    assert right / len(rows) >= 0.92


def test_the_examples_we_offer_are_understood_as_questions_of_our_trade(reader: LinearIntentReader) -> None:
    busy = a_snapshot(a_task(1), a_task(2, state=TaskState.QUEUED), a_task(3, state=TaskState.SUCCEEDED))
    for example in {*examples_for(a_snapshot()), *examples_for(busy)}:
        assert intent_of(reader, example) is not Intent.OFF_TOPIC, example


@pytest.mark.parametrize("text", [f"cancel {TASK_ID}", f"brich {TASK_ID} bitte ab", f"kill {TASK_ID} now"])
def test_a_task_id_beside_a_word_for_cancelling_leaves_no_doubt(text: str) -> None:
    assert choose_intent(text, EVEN) is Intent.CANCEL_TASK


def test_asking_why_something_was_stopped_cancels_nothing() -> None:
    assert choose_intent(f"why did you stop {TASK_ID}?", EVEN) is not Intent.CANCEL_TASK


def test_a_quoted_command_is_work() -> None:
    assert choose_intent('run "ffmpeg -i a b"', EVEN | {Intent.OFF_TOPIC: 0.9}) is Intent.SCHEDULE_TASK


@pytest.mark.parametrize(
    "text", [f"explain task {TASK_ID}", "Erkläre Aufgabe 12345", f"why did {TASK_ID} go to the GPU?"]
)
def test_a_named_task_beside_a_word_for_reasons_is_to_be_explained(text: str) -> None:
    assert choose_intent(text, EVEN | {Intent.STATUS: 0.9}) is Intent.EXPLAIN_DECISION


@pytest.mark.parametrize("text", [f"explain why {TASK_ID} failed", f"why did {TASK_ID} crash on the GPU"])
def test_why_something_failed_is_no_question_about_a_decision(text: str) -> None:
    assert choose_intent(text, EVEN | {Intent.STATUS: 0.9}) is Intent.STATUS


@pytest.mark.parametrize("text", ["", " ", "?!", "…", "\u200b"])
def test_where_nothing_is_said_nothing_is_wanted(reader: LinearIntentReader, text: str) -> None:
    assert intent_of(reader, text) is Intent.OFF_TOPIC


def test_the_other_one_is_about_the_decision_spoken_of_only() -> None:
    shares = EVEN | {Intent.OFF_TOPIC: 0.9}
    assert choose_intent("and why not the other one?", shares, decision_spoken_of=True) is Intent.EXPLAIN_DECISION
    assert choose_intent("and why not the other one?", shares) is Intent.OFF_TOPIC


@settings(max_examples=20, deadline=None)
@given(texts=st.lists(st.text(max_size=200), min_size=1, max_size=3))
def test_every_text_gets_nine_probabilities(reader: LinearIntentReader, texts: list[str]) -> None:
    for shares in reader.read(texts):
        assert list(shares) == list(Intent)
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)


def test_weights_made_for_another_encoder_are_refused_with_the_remedy(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "reader")
    card = tmp_path / "reader" / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"encoder_sha256": "0" * 64}))

    with pytest.raises(StorageError, match=r"made for the encoder 0+….*recipes\.mind\.intents"):
        LinearIntentReader(OnnxEncoder(), tmp_path / "reader").read(["hello"])


@pytest.mark.parametrize("damage", [b"", b"no archive"])
def test_damaged_weights_are_refused(tmp_path: Path, damage: bytes) -> None:
    shutil.copytree(SHIPPED, tmp_path / "reader")
    (tmp_path / "reader" / "intents.npz").write_bytes(damage)

    with pytest.raises(StorageError, match=r"intents\.npz"):
        LinearIntentReader(OnnxEncoder(), tmp_path / "reader").read(["hello"])
