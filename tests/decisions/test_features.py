import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.decisions.features import READ_CHARACTERS, features_of
from conductor.decisions.languages import language_of
from conductor.decisions.quantities import quantities_in

TRAINING_TEXTS = Path(__file__).parents[2] / "recipes" / "encoder" / "data"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Transcode 100 videos", [("count", 100)]),
        ("convert 1,500 photos", [("count", 1500)]),
        ("1.500 Bilder umwandeln", [("count", 1500)]),
        ("sort 12 300 rows", [("count", 12300)]),
        ("2k images", [("count", 2000)]),
        ("5M rows to parquet", [("count", 5e6)]),
        ("3 epochs, 2 million rows", [("epochs", 3), ("count", 2e6)]),
        ("3 GB of logs", [("bytes", 3e9)]),
        ("3,5 Go de photos", [("bytes", 3.5e9)]),
        ("512 MiB file", [("bytes", 512 * 2**20)]),
        ("resample to 48 kHz", [("hertz", 48_000)]),
        ("10 minutes of audio", [("seconds", 600)]),
        ("a 90-minute film", [("seconds", 5400)]),
        ("1:30:00 of sound", [("seconds", 5400)]),
        ("scale to 1920x1080", [("pixels", 1920 * 1080)]),
        ("scale to 1080p", [("pixels", 1920 * 1080)]),
        ("encode in 4k", [("pixels", 3840 * 2160)]),
        ("fine-tune a 7B model", [("parameters", 7e9)]),
        ("train for 20 epochs", [("epochs", 20)]),
        ("60 fps", [("frames_per_second", 60)]),
        ("a dozen clips", [("count", 12)]),
        ("zwei Videos schneiden", [("count", 2)]),
        ("trois vidéos", [("count", 3)]),
        ("cinco imágenes", [("count", 5)]),
        ("把100个视频转码", [("count", 100)]),
        ("50枚の画像", [("count", 50)]),
        ("处理2万张照片", [("count", 20_000)]),
        ("20 эпох", [("epochs", 20)]),
    ],
)
def test_a_quantity_is_read_in_base_units(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(found.name, found.value) for found in quantities_in(text)] == [
        (name, pytest.approx(value)) for name, value in expected
    ]


@pytest.mark.parametrize(
    "text", ["run every 5 min", "within 10 minutes", "version 2.7.1 of the tool", "on my files", "ResNet50", "5M"]
)
def test_a_number_that_measures_no_material_is_left_alone(text: str) -> None:
    assert quantities_in(text) == ()


def test_media_are_named_by_word_and_by_file_extension() -> None:
    assert features_of("mux song.flac into the film").media == ("audio", "video")
    assert features_of("压缩所有图片").media == ("image",)


def test_operations_and_many_items_are_recognised_in_other_languages() -> None:
    features = features_of("Alle Videos im Ordner umwandeln")

    assert (features.verbs, features.batch) == (("convert",), True)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Please convert all of the videos in this folder", "en"),
        ("Bitte wandle alle Videos in diesem Ordner um", "de"),
        ("Convertir toutes les vidéos dans ce dossier", "fr"),
        ("Convierte todos los vídeos de esta carpeta", "es"),
        ("Converta todos os vídeos desta pasta, não as fotos", "pt"),
        ("Converti tutti i video della cartella nel formato giusto", "it"),
        ("Zet alle video's in deze map om naar een ander formaat", "nl"),
        ("Przekonwertuj wszystkie filmy z tego folderu na mp4", "pl"),
        ("Bu klasördeki tüm videoları mp4 olarak dönüştür", "tr"),
        ("Сконвертируй все видео в этой папке", "ru"),
        ("Перекодуй усі відео з цієї теки", "uk"),
        ("把这个文件夹里的视频全部转码", "zh"),
        ("このフォルダの動画をすべて変換する", "ja"),
        ("이 폴더의 모든 동영상을 변환", "ko"),
        ("حول كل مقاطع الفيديو", "ar"),
        ("12345 :: --", "und"),
    ],
)
def test_the_language_of_a_sentence_is_named(text: str, code: str) -> None:
    assert language_of(text).code == code


def test_the_language_is_right_for_nine_in_ten_short_texts() -> None:
    if not TRAINING_TEXTS.is_dir():
        pytest.skip("the training texts of the encoder are not here")
    rows = [json.loads(line) for file in sorted(TRAINING_TEXTS.glob("*.jsonl")) for line in file.open()][::7]
    labelled = [row for row in rows if row.get("lang") and row.get("text")]

    right = sum(language_of(row["text"]).code == row["lang"] for row in labelled)

    assert right / len(labelled) >= 0.9


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    features = features_of(text)

    assert 2 <= features.urgency.priority <= 5
    assert 0.0 <= features.language.certainty <= 1.0
    assert all(value > 0 for value in features.sizes().values())
    assert features == features_of(text)


def test_of_a_long_text_only_beginning_and_end_are_read_and_that_is_noted() -> None:
    filler = "lorem " * 16_000
    features = features_of(f"Encode 12 clips. {filler} This is urgent.")

    assert features.total("count") == 12
    assert features.urgency.word == "urgent"
    assert str(READ_CHARACTERS) in features.notes[0]


def test_the_middle_of_a_long_text_is_not_read() -> None:
    filler = "lorem " * 8_000

    assert features_of(f"Encode a clip. {filler} 77 videos {filler} The end.").total("count") is None
