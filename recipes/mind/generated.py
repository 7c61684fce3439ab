"""Compose task descriptions mechanically, to compare two models on texts that neither was trained on.

They need no labels: what counts is whether both models answer alike. About a third are taken apart and joined with parts
of others, so that close calls are among them, where a small difference between two models shows.
"""

import random
from collections.abc import Sequence
from typing import Final

_WORK: Final = (
    ("train", "fine-tune", "pretrain", "run", "evaluate", "benchmark", "profile", "quantize", "serve", "test"),
    ("transcode", "re-encode", "trim", "deinterlace", "scale", "remux", "stabilize", "segment", "stream", "decode"),
    ("resize", "sharpen", "crop", "denoise", "stitch", "align", "color-correct", "watermark", "rotate", "develop"),
    ("filter", "resample", "normalize", "demodulate", "equalize", "split", "mix", "correlate", "downsample", "mute"),
    ("classify", "detect", "transcribe", "translate", "segment", "embed", "caption", "recognize", "track", "rank"),
    ("compress", "back up", "parse", "join", "sort", "compile", "download", "encrypt", "rename", "index"),
)
_THINGS: Final = (
    ("a ResNet-{n}", "the language model", "a GAN on {n} faces", "our U-Net", "a {n}M transformer", "the RL agent"),
    ("{n} clips", "the 4K master", "holiday.mp4", "the {n} fps capture", "a DASH ladder", "the DVD rip"),
    ("{n} RAW photos", "the product shots", "scan_{n}.tif", "a panorama", "the thumbnails", "microscope slides"),
    ("the EEG recording", "{n} WAV files", "a radar trace", "the podcast", "ECG lead {n}", "the FM capture"),
    ("{n} invoices", "faces in the door camera", "the call recordings", "street signs", "{n} tweets", "X-rays"),
    ("the log archive", "{n} CSV files", "the Postgres dump", "node_modules", "/var/backups", "the user table"),
)
_TAILS: Final = (
    "",
    "",
    " overnight",
    " for the {n} o'clock meeting",
    " with {n} workers",
    " on the smallest machine",
    " before the release",
    " and mail me the result",
    " without touching the originals",
    " at {n} Hz",
    " to {n}p",
    " as JSON",
)
_VOICES: Final = ("{}", "{}", "{}", "please {}", "how do I {}?", "need to {}", "job: {}", "can you {} today")


def generated_tasks(count: int, known: Sequence[str], seed: int = 5) -> list[str]:
    """`count` distinct descriptions, none of them in `known`."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    seen = frozenset(known)
    while len(found) < count:
        text = _task(rng)
        if rng.random() < 0.35:
            text = f"{text} {rng.choice(('and', 'then', 'from', 'of', 'using', 'after you'))} {_task(rng)}"
        text = rng.choice(_VOICES).format(text)
        if text not in seen:
            found[text] = None
    return list(found)


def _task(rng: random.Random) -> str:
    topic = rng.randrange(len(_WORK))
    # One in five names a thing of another topic: "compress the 4K master".
    other = rng.randrange(len(_WORK)) if rng.random() < 0.2 else topic
    number = rng.choice((2, 3, 5, 8, 12, 18, 24, 50, 100, 720, 1080, 2000))
    return f"{rng.choice(_WORK[topic])} {rng.choice(_THINGS[other])}{rng.choice(_TAILS)}".replace("{n}", str(number))
