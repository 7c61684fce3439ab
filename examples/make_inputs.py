"""Make the inputs of the examples again: `python -m examples.make_inputs`.

Everything is computed, so nothing here belongs to anybody else: a moving test picture with a tone, twelve photographs of
landscapes that never were, a chord that needs resampling. `reviews.csv` was written by hand.
"""

import subprocess
import wave
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageFilter

HERE = Path(__file__).parent
PHOTOS = 12


def main() -> None:
    """Make every input anew."""
    make_clip(HERE / "clip.mkv")
    (HERE / "photos").mkdir(exist_ok=True)
    for number in range(PHOTOS):
        make_photo(HERE / "photos" / f"landscape-{number + 1:02d}.jpg", seed=number)
    make_chord(HERE / "chord-44k1.wav")


def make_clip(path: Path) -> None:
    """Six seconds of a moving test picture, 480 × 270, with a tone; MPEG-4 part 2, as old cameras write it."""
    subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error",
            "-f", "lavfi", "-i", "testsrc2=size=480x270:rate=25:duration=6",
            "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=6",
            "-c:v", "mpeg4", "-q:v", "6", "-c:a", "libmp3lame", "-b:a", "64k", "-fflags", "+bitexact", str(path),
        ],
        check=True,
    )  # fmt: skip


def make_photo(path: Path, *, seed: int) -> None:
    """A hill, a sky and a sun, 960 × 640, slightly out of focus."""
    random = np.random.default_rng(seed)
    height, width = 640, 960
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height  # [height, width]
    ridge = 0.55 + sum(
        random.uniform(0.02, 0.08) * np.sin(random.uniform(1, 9) * x + random.uniform(0, 6)) for _ in range(5)
    )
    sun = np.exp(-(((x - random.uniform(0.2, 1.3)) ** 2 + (y - random.uniform(0.1, 0.4)) ** 2) * 60))
    sky = np.stack([0.35 + 0.5 * y + sun, 0.5 + 0.3 * y + 0.8 * sun, 0.85 - 0.2 * y + 0.3 * sun], axis=-1)
    grain = random.normal(0, 0.05, (height, width, 1))
    tint = random.uniform(0.6, 1.0, 3)
    hill = np.stack([0.2 + 0 * y, 0.45 - 0.25 * (y - ridge), 0.15 + 0 * y], axis=-1) * tint + grain
    picture = np.where((y > ridge)[..., None], hill, sky)  # [height, width, 3]
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    image.filter(ImageFilter.GaussianBlur(1.2)).save(path, quality=80)


def make_chord(path: Path) -> None:
    """Four seconds of a decaying major chord, 44.1 kHz, 16 bit, one channel."""
    rate, seconds = 44_100, 4
    time = np.arange(rate * seconds) / rate
    chord = sum(np.sin(2 * np.pi * frequency * time) for frequency in (261.63, 329.63, 392.0)) * np.exp(-time / 2)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((chord / 3 * 0.8 * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
