"""What a file is found to be: by its content, within bounds, and without ever raising for what it holds."""

import gzip
import io
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.attachments.making import (
    graphic_pixels,
    image_file,
    movie_bytes,
    page_pixels,
    photo_pixels,
    tone,
    wav_file,
)

from conductor.adapters.attachments.measuring import measure
from conductor.adapters.attachments.reading import Reading, read_headers
from conductor.domain.attachment import Medium


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.png", "image/png"),
        ("a.jpg", "image/jpeg"),
        ("a.gif", "image/gif"),
        ("a.bmp", "image/bmp"),
        ("a.tiff", "image/tiff"),
        ("a.webp", "image/webp"),
    ],
)
def test_a_picture_of_any_format_is_known_by_its_content_and_measured(
    tmp_path: Path, name: str, media_type: str
) -> None:
    made = image_file(tmp_path / name, photo_pixels(320, 240))
    misnamed = made.rename(tmp_path / "notes.txt")

    found = measure(misnamed)

    assert (found.media_type, found.medium) == (media_type, Medium.IMAGE)
    assert (found.facts["width"], found.facts["height"], found.sizes["pixels"]) == (320, 240, 76_800)
    assert found.notes == ()
    assert "sharpness" in found.facts


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 1), (3, 500), (700, 2)])
def test_pictures_of_any_shape_are_measured(tmp_path: Path, width: int, height: int) -> None:
    found = measure(image_file(tmp_path / "a.png", photo_pixels(width, height)))

    assert found.notes == ()
    assert found.sizes["pixels"] == width * height


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "F", "YCbCr"])
def test_pictures_of_any_mode_are_measured(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(photo_pixels(64, 48))
    converted = picture.convert("L").convert("I").convert(mode) if mode == "I;16" else picture.convert(mode)
    path = tmp_path / "a.tiff"
    converted.save(path) if mode != "P" else converted.save(tmp_path / "a.tiff", format="GIF")

    found = measure(path)

    assert found.notes == ()
    assert 0.2 < float(str(found.facts["brightness"])) < 0.8


def test_sharpness_brightness_contrast_and_colours_follow_the_picture(tmp_path: Path) -> None:
    pixels = page_pixels()
    blurred = np.asarray(Image.fromarray(pixels).resize((50, 70)).resize((400, 560), Image.Resampling.BICUBIC))
    sharp, soft = measure(image_file(tmp_path / "a.png", pixels)), measure(image_file(tmp_path / "b.png", blurred))
    red = measure(image_file(tmp_path / "c.png", np.full((20, 20, 3), (200, 10, 10), dtype=np.uint8)))

    assert number(sharp, "sharpness") > 20 * number(soft, "sharpness")
    assert number(sharp, "contrast") > number(soft, "contrast")
    assert red.facts["colours"] == [{"colour": "#c80a0a", "share": 1.0}]
    assert (number(red, "contrast"), number(red, "sharpness")) == (0.0, 0.0)


def number(reading: Reading, name: str) -> float:
    return float(str(reading.facts[name]))


@pytest.mark.parametrize(
    ("pixels", "kind"), [(photo_pixels(), "photo"), (page_pixels(), "document"), (graphic_pixels(), "graphic")]
)
def test_photos_pages_and_graphics_are_told_apart(tmp_path: Path, pixels: np.ndarray, kind: str) -> None:
    assert measure(image_file(tmp_path / "a.png", pixels)).looks_like == kind
    assert measure(image_file(tmp_path / "a.jpg", pixels, quality=92)).looks_like in (kind, "")


def test_the_camera_is_kept_and_the_place_is_not(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271], exif[272], exif[274] = "Phone\x00", "Nine", 6
    exif[34665] = {33434: 0.004, 33437: 1.8, 34855: 100, 36867: "2026:05:01 10:00:00"}
    exif[34853] = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)}
    path = image_file(tmp_path / "a.jpg", photo_pixels(), exif=exif)

    found = measure(path)

    assert 34853 in Image.open(path).getexif()
    assert found.facts["camera_make"] == "Phone"
    assert found.facts["orientation"] == 6
    assert found.facts["exposure_s"] == 0.004
    assert found.facts["taken_at"] == "2026:05:01 10:00:00"
    assert not [name for name in found.facts if "gps" in name.lower()]
    assert not [value for value in found.facts.values() if "52" in str(value) and "31" in str(value)]


def test_frames_of_an_animation_are_counted(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(photo_pixels(40, 30), shift * 5, axis=1)) for shift in range(7)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])

    assert measure(tmp_path / "a.gif").sizes["frames"] == 7


def test_a_picture_too_large_to_decode_keeps_its_dimensions(tmp_path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "a.png")
    header = bytearray((tmp_path / "a.png").read_bytes())
    header[16:24] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "b.png").write_bytes(header)

    large, bomb = measure(tmp_path / "a.png"), measure(tmp_path / "b.png")

    assert large.sizes["pixels"] == 1e8
    assert "more than 50 MP" in large.notes[0]
    assert bomb.sizes["pixels"] == 3.6e9
    assert "was not measured" in bomb.notes[0]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_truncated_files_are_told_and_what_the_header_says_stays(tmp_path: Path, share: float) -> None:
    whole = image_file(tmp_path / "a.jpg", photo_pixels(400, 300), quality=90).read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: int(len(whole) * share)])

    found = measure(tmp_path / "b.jpg")

    assert found.media_type == "image/jpeg"
    assert "was not measured" in found.notes[0]
    if share > 0.1:
        assert found.sizes["pixels"] == 120_000


def test_text_markup_and_archives_are_what_they_are_whatever_their_name(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(30_000_000))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://192.0.2.1/a.png"/></svg>'
    contents = {
        "text/plain": "just words, é".encode(),
        "application/zip": packed.getvalue(),
        "application/gzip": gzip.compress(bytes(30_000_000)),
        "application/octet-stream": b"\x00\x01\x02",
    }
    for media_type, content in [*contents.items(), ("text/plain", svg)]:
        (tmp_path / "a.jpg").write_bytes(content)
        found = measure(tmp_path / "a.jpg")
        assert (found.media_type, found.medium, found.notes) == (media_type, Medium.OTHER, ())


def test_sound_is_measured(tmp_path: Path) -> None:
    quiet, loud = np.zeros(16_000), tone(1.0, hertz=1000, level=0.5)
    found = measure(wav_file(tmp_path / "a.wav", np.concatenate([quiet, loud])))

    assert (found.media_type, found.medium) == ("audio/wav", Medium.AUDIO)
    assert found.sizes["seconds"] == pytest.approx(2.0)
    assert (found.facts["channels"], found.facts["sample_rate_hz"]) == (1, 16_000)
    assert number(found, "peak_dbfs") == pytest.approx(-6.02, abs=0.05)
    assert number(found, "rms_dbfs") == pytest.approx(-12.04, abs=0.05)
    assert number(found, "silent") == pytest.approx(0.5, abs=0.01)
    assert number(found, "centroid_hz") == pytest.approx(1000, rel=0.1)
    assert number(found, "clipped") == 0.0


def test_clipping_and_silence_are_told(tmp_path: Path) -> None:
    clipped = measure(wav_file(tmp_path / "a.wav", tone(level=3.0)))
    silent = measure(wav_file(tmp_path / "b.wav", np.zeros(8000)))

    assert number(clipped, "clipped") > 0.5
    assert number(silent, "rms_dbfs") == -120.0
    assert silent.looks_like == "silent"


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("FLAC", "audio/flac"), ("OGG", "audio/ogg"), ("MP3", "audio/mpeg"), ("AIFF", "audio/aiff"), ("WAV", "audio/wav")],
)
def test_every_sound_format_is_read(tmp_path: Path, kind: str, media_type: str) -> None:
    path = tmp_path / "sound"
    soundfile.write(path, np.stack([tone(2.0, rate=44_100)] * 2, axis=1), 44_100, format=kind)

    found = measure(path)

    assert found.media_type == media_type
    assert found.sizes["seconds"] == pytest.approx(2.0, abs=0.1)
    assert (found.facts["channels"], found.facts["sample_rate_hz"]) == (2, 44_100)
    assert number(found, "centroid_hz") == pytest.approx(1000, rel=0.25)


def test_samples_that_are_no_numbers_are_told_and_left_out(tmp_path: Path) -> None:
    samples = tone().astype(np.float32)
    samples[:1600] = np.nan
    samples[1600:1700] = np.inf
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")

    found = measure(tmp_path / "a.wav")

    assert "no numbers" in found.notes[0]
    assert number(found, "peak_dbfs") == pytest.approx(-6.02, abs=0.05)


def test_a_long_recording_is_measured_in_its_beginning(tmp_path: Path) -> None:
    found = measure(wav_file(tmp_path / "a.wav", tone(150.0, rate=8000), rate=8000))

    assert found.sizes["seconds"] == pytest.approx(150.0)
    assert found.notes == ("its first 120 s were measured",)


def test_a_header_that_promises_more_than_there_is_is_not_believed(tmp_path: Path) -> None:
    whole = bytearray(wav_file(tmp_path / "a.wav", tone(1.0)).read_bytes())
    whole[40:44] = struct.pack("<I", 0xFFFF_FF00)
    (tmp_path / "a.wav").write_bytes(whole)

    assert measure(tmp_path / "a.wav").sizes["seconds"] == pytest.approx(1.0)


def test_a_movie_tells_length_and_frame(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(movie_bytes(seconds=12.5))
    found = measure(tmp_path / "a.mp4")

    assert (found.media_type, found.medium) == ("video/mp4", Medium.VIDEO)
    assert found.sizes == {"pixels": 1920 * 1080, "seconds": 12.5}


def test_without_the_extra_the_headers_stay_and_the_note_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, sound = image_file(tmp_path / "a.png", photo_pixels()), wav_file(tmp_path / "a.wav", tone())
    for name in ("PIL", "soundfile"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("picture", "sound"):
        monkeypatch.delitem(sys.modules, f"conductor.adapters.attachments.{name}", raising=False)
        package = sys.modules["conductor.adapters.attachments"]
        monkeypatch.delattr(package, name, raising=False)

    for found in (measure(picture), measure(sound)):
        assert "install conductor[media]" in found.notes[0]
    assert measure(picture).sizes["pixels"] == 76_800
    assert measure(sound).sizes["seconds"] == pytest.approx(1.0)


SIGNATURES = [
    b"", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\x00",
    b"BM\x00\x00\x00\x00\x00\x00\x00\x00",
    b"RIFF\x00\x00\x00\x00WAVEfmt ", b"RIFF\x00\x00\x00\x00WEBP", b"fLaC", b"OggS", b"ID3", b"FORM\x00\x00\x00\x00AIFF",
    b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00", b"\xff\xfb\x90", b"PK\x03\x04", b"\x1a\x45\xdf\xa3",
]  # fmt: skip


@given(start=st.sampled_from(SIGNATURES), rest=st.binary(max_size=600))
def test_no_bytes_make_it_raise(tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + rest)

    found = measure(path)

    assert found.media_type == read_headers(path).media_type
    assert all(0 < size < float("inf") for size in found.sizes.values())


@given(
    at=st.integers(0, 4000),
    with_=st.binary(min_size=1, max_size=8),
    which=st.sampled_from(["png", "jpg", "gif", "wav"]),
)
def test_damage_anywhere_is_survived(
    tmp_path_factory: pytest.TempPathFactory, at: int, with_: bytes, which: str
) -> None:
    base = tmp_path_factory.getbasetemp()
    path = base / f"whole.{which}"
    if not path.exists():
        wav_file(path, tone(0.2)) if which == "wav" else image_file(path, photo_pixels(48, 32))
    data = bytearray(path.read_bytes())
    at %= len(data)
    data[at : at + len(with_)] = with_
    (base / "damaged").write_bytes(data)

    found = measure(base / "damaged")

    assert all(0 < size < float("inf") for size in found.sizes.values())
