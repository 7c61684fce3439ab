"""Files made by the tests: pictures, sounds, movies, and broken ones."""

import struct
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def photo_pixels(width: int = 320, height: int = 240) -> Pixels:
    """Soft shapes with the noise of a sensor."""
    noise = np.random.default_rng(7).normal(0, 8, (height, width, 3))
    y, x = np.mgrid[0:height, 0:width]
    soft = np.stack([90 + 60 * np.sin(x / 40), 110 + 50 * np.cos(y / 30), 80 + 40 * np.sin((x + y) / 50)], axis=2)
    return np.clip(soft + noise, 0, 255).astype(np.uint8)


def page_pixels(width: int = 400, height: int = 560) -> Pixels:
    """Lines of dark marks on slightly uneven paper."""
    random = np.random.default_rng(3)
    page = np.clip(random.normal(238, 3, (height, width, 1)), 0, 255).repeat(3, axis=2)
    for top in range(40, height - 40, 20):
        marks = random.random(width - 80) < 0.4
        page[top : top + 6, 40 : width - 40][:, marks] = 25
    return page.astype(np.uint8)


def graphic_pixels(width: int = 400, height: int = 300) -> Pixels:
    """Areas of one colour."""
    picture = np.full((height, width, 3), (40, 60, 160), dtype=np.uint8)
    picture[40:200, 60:180] = (250, 200, 20)
    picture[120:280, 200:380] = (200, 30, 30)
    return picture


def image_file(path: Path, pixels: Pixels, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


def tone(
    seconds: float = 1.0, *, hertz: float = 1000.0, rate: int = 16000, level: float = 0.5
) -> npt.NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def wav_file(path: Path, samples: npt.NDArray[np.float64], *, rate: int = 16000) -> Path:
    """16 bits, by the standard library; samples [time] or [time, channels]."""
    table = samples.reshape(len(samples), -1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(table.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(table, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def movie_bytes(*, seconds: float = 12.5, width: int = 1920, height: int = 1080) -> bytes:
    """The boxes of an MP4 without any frames."""

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + name + body

    mvhd = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, round(seconds * 1000)) + bytes(80))
    tkhd = box(b"tkhd", bytes(76) + struct.pack(">II", width << 16, height << 16))
    return box(b"ftyp", b"isom" + bytes(4)) + box(b"moov", mvhd + box(b"trak", tkhd)) + box(b"mdat", bytes(64))
