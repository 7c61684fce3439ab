import hashlib
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from conductor.adapters.encoder_onnx import SHIPPED, OnnxEncoder
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import StorageError

SHIPPED_FILES = ("encoder.int8.onnx", "tokenizer.json", "letters.npz", "card.json")

EASY = {
    "Train a ResNet-50 on our labelled images with PyTorch": "GPU",
    "Transcode all mkv files to H.265 with ffmpeg": "VIDEO",
    "Resize 500 JPEG photos to 800 pixels wide": "ISP",
    "Resample the wav files to 16 kHz and normalise loudness": "DSP",
    "Transcribe the podcast with Whisper": "NPU",
    "Compress the log folder with gzip and move it to the backup disk": "CPU",
    "Ein neuronales Netz auf dem Datensatz trainieren": "GPU",
    "Entrenar una red neuronal con imágenes de perros": "GPU",
    "Convertir une vidéo mov en mp4 h264": "VIDEO",
    "Converter o vídeo para H.265": "VIDEO",
    "Ridimensionare le foto a 1024 px": "ISP",
    "Maak een back-up van de database": "CPU",
    "Обучить нейросеть на изображениях": "GPU",
    "把视频转码为h265": "VIDEO",
    "モデルを学習させる": "GPU",
    "Przekonwertuj wideo do mp4 h264": "VIDEO",
    "Veritabanının yedeğini al": "CPU",
}


@pytest.fixture(scope="module")
def encoder() -> OnnxEncoder:
    return OnnxEncoder()


def test_easy_texts_in_ten_languages_get_their_device(encoder: OnnxEncoder) -> None:
    answers = encoder.encode(list(EASY)).device_probabilities.argmax(axis=1)

    assert {text: list(DeviceType)[answer] for text, answer in zip(EASY, answers, strict=True)} == EASY


def test_rows_are_unit_vectors_and_probabilities(encoder: OnnxEncoder) -> None:
    said = encoder.encode(list(EASY))

    assert said.device_probabilities.shape == (len(EASY), len(DeviceType))
    assert said.kind_probabilities.shape == (len(EASY), len(TaskKind))
    np.testing.assert_allclose(np.linalg.norm(said.embeddings, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(said.device_probabilities.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(said.kind_probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_company_in_a_batch_changes_nothing(encoder: OnnxEncoder) -> None:
    texts = [*EASY, "x" * 5_000, "short"]
    together = encoder.encode(texts)
    alone = [encoder.encode([text]) for text in texts]

    for row, single in enumerate(alone):
        np.testing.assert_allclose(together.embeddings[row], single.embeddings[0], atol=1e-3)
        np.testing.assert_allclose(together.device_probabilities[row], single.device_probabilities[0], atol=1e-3)


def test_threads_get_what_a_single_caller_gets(encoder: OnnxEncoder) -> None:
    texts = list(EASY)
    expected = encoder.encode(texts).device_probabilities
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(encoder.encode(texts).device_probabilities)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    for one in found:
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("text", ["", " \n\t ", "\x00\x01\x02", "\ud800 lone surrogate", "🎬" * 300, "a" * 200, "́"])
def test_odd_text_gets_finite_answers(encoder: OnnxEncoder, text: str) -> None:
    said = encoder.encode([text])

    assert np.isfinite(said.embeddings).all()
    assert said.device_probabilities.sum() == pytest.approx(1.0, abs=1e-5)


def test_no_text_gives_no_rows(encoder: OnnxEncoder) -> None:
    said = encoder.encode([])

    assert said.embeddings.shape == (0, 384)
    assert said.device_probabilities.shape == (0, len(DeviceType))


def test_of_a_hundred_kilobytes_only_the_beginning_is_read(encoder: OnnxEncoder) -> None:
    beginning = "Transcode all mkv files to H.265 with ffmpeg. " * 30
    endless = encoder.encode([beginning + "train a network " * 6_000])

    np.testing.assert_array_equal(endless.device_probabilities, encoder.encode([beginning]).device_probabilities)


def test_praise_and_blame_are_told_apart_by_prototypes(encoder: OnnxEncoder) -> None:
    prototypes = encoder.encode(["I love it, excellent quality", "I hate it, terrible quality"]).embeddings
    reviews = [
        "Great product, works perfectly and looks beautiful",
        "Excellent sound, I am very happy with these headphones",
        "Wonderful book, I enjoyed every page",
        "Awful, it broke on the first day",
        "Terrible service and bad food, never again",
        "Very disappointed, poor quality and useless",
    ]

    nearer = (encoder.encode(reviews).embeddings @ prototypes.T).argmax(axis=1)

    assert nearer.tolist() == [0, 0, 0, 1, 1, 1]


def test_like_tasks_lie_nearer_than_unlike_ones(encoder: OnnxEncoder) -> None:
    texts = ["convert holiday.mov to mp4", "transcode the clip to h264", "restore the mysql dump from last night"]
    near = encoder.encode(texts).embeddings

    assert near[0] @ near[1] > near[0] @ near[2]


def test_the_card_vouches_for_the_shipped_files(encoder: OnnxEncoder) -> None:
    card = json.loads((SHIPPED / "card.json").read_text(encoding="utf-8"))

    assert encoder.checksum == card["sha256"]["encoder.int8.onnx"]
    assert encoder.checksum == hashlib.sha256((SHIPPED / "encoder.int8.onnx").read_bytes()).hexdigest()
    assert encoder.name == f"{card['name']} {card['version']}"
    assert card["holdout"]["accept"] >= 0.87
    assert card["holdout"]["ece"] <= 0.05


def test_a_flipped_bit_is_refused_with_file_expected_and_found(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    weights = folder / "encoder.int8.onnx"
    spoiled = bytearray(weights.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    weights.write_bytes(spoiled)

    with pytest.raises(StorageError) as refused:
        OnnxEncoder(folder).encode(["anything"])

    assert refused.value.details["file"] == str(weights)
    assert refused.value.details["found"] == hashlib.sha256(spoiled).hexdigest()
    assert str(refused.value.details["expected"]) in str(refused.value)


@pytest.mark.parametrize("name", SHIPPED_FILES)
def test_a_truncated_or_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = _copy(tmp_path)
    (folder / name).write_bytes((folder / name).read_bytes()[:100])
    with pytest.raises(StorageError, match=name.replace(".", r"\.")):
        _ = OnnxEncoder(folder).checksum

    (folder / name).unlink()
    with pytest.raises(StorageError, match=name.replace(".", r"\.")):
        _ = OnnxEncoder(folder).checksum


def test_an_intact_copy_says_the_same(tmp_path: Path, encoder: OnnxEncoder) -> None:
    copy = OnnxEncoder(_copy(tmp_path))

    assert copy.checksum == encoder.checksum
    np.testing.assert_array_equal(copy.encode(["cut a clip"]).embeddings, encoder.encode(["cut a clip"]).embeddings)


def _copy(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    folder.mkdir()
    for name in SHIPPED_FILES:
        shutil.copy(SHIPPED / name, folder / name)
    return folder
