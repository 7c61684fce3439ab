import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipes.encoder.augment import altered
from recipes.encoder.data import DATA, HOLDOUT_FILE, file_digests, holdout_rows, read_rows, text_key, training_rows

TASKS_DEV = Path(__file__).parents[3] / "shared" / "data" / "tasks_dev.jsonl"
SHIPPED_CARD = Path(__file__).parents[2] / "src" / "conductor" / "adapters" / "encoder_onnx" / "card.json"


def test_there_are_thousands_of_distinct_texts_in_ten_languages_a_third_of_them_hard() -> None:
    rows = training_rows()
    languages = Counter(row.lang for row in rows)

    assert len({text_key(row.text) for row in rows}) == len(rows) >= 4_000
    assert len([language for language, count in languages.items() if count >= 50]) >= 10
    assert sum(row.hard for row in rows) / len(rows) >= 1 / 3


def test_every_device_and_kind_occurs_often_enough_to_be_learned() -> None:
    rows = training_rows()

    assert len(Counter(row.best for row in rows)) == 6
    assert min(Counter(row.best for row in rows).values()) >= 500
    assert len(Counter(row.task_kind for row in rows)) == 15
    assert min(Counter(row.task_kind for row in rows).values()) >= 100


def test_the_holdout_shares_no_text_with_the_training_rows() -> None:
    trained_on = {text_key(row.text) for row in training_rows()}

    assert not trained_on & {text_key(row.text) for row in holdout_rows()}


@pytest.mark.skipif(not TASKS_DEV.exists(), reason="the shared development set is not beside the repository")
def test_no_row_repeats_a_text_of_the_development_set() -> None:
    kept_apart = {text_key(json.loads(line)["text"]) for line in TASKS_DEV.read_text(encoding="utf-8").splitlines()}

    assert not [row.id for row in [*training_rows(), *holdout_rows()] if text_key(row.text) in kept_apart]


def test_the_card_names_the_data_that_the_shipped_weights_were_trained_on() -> None:
    card = json.loads(SHIPPED_CARD.read_text(encoding="utf-8"))

    assert card["data_sha256"] == file_digests()


@pytest.mark.parametrize("broken", ['{"id": "a"}', "not json", '{"id":"a","text":"t","accept":[],"best":"GPU"}'])
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, broken: str) -> None:
    good = (DATA / f"{HOLDOUT_FILE}.jsonl").read_text(encoding="utf-8").splitlines()[0]
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{good}\n{broken}\n", encoding="utf-8")

    with pytest.raises(ValueError, match=r"rows\.jsonl line 2"):
        read_rows(path)


def test_the_key_of_a_text_ignores_case_accents_punctuation_and_order() -> None:
    assert text_key("Résumer la Vidéo!") == text_key("video, la resumer")
    assert text_key("cut the audio") != text_key("cut the video")


@given(text=st.text(max_size=80), seed=st.integers(0, 1_000))
def test_alteration_is_repeatable_and_never_empties_a_text(text: str, seed: int) -> None:
    foreign = {"video": ["Video", "vídeo"], "train": ["trainieren", "entrenar"]}

    once = altered(text, random.Random(seed), foreign)

    assert once == altered(text, random.Random(seed), foreign)
    assert bool(once) >= bool(text)
