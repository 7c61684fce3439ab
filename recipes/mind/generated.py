"""Generate task descriptions to compare two networks on, of which neither was trained on any.

They need no labels: what counts is whether both networks answer alike. `varied_tasks` are people's descriptions that were
kept out of training, with other numbers, slips, foreign words, hurry and politeness: what users type. `composed_tasks`
are put together from verbs and things, sensible or not ("mute the panorama at 720p"): mostly close calls, where a small
difference between two networks shows.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Final

from recipes.encoder.augment import altered
from recipes.mind.examples import hurried

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
_NUMBER: Final = re.compile(r"(?<![\w.])\d{1,4}(?![\w.])")
_VOICES: Final = ("{}", "{}", "{}", "please {}", "how do I {}?", "need to {}", "job: {}", "can you {} today")


def varied_tasks(count: int, origins: Sequence[str], foreign: Mapping[str, Sequence[str]], seed: int = 5) -> list[str]:
    """`count` distinct variations of descriptions, taken from `origins` in turn; none is an origin itself."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    order, known = list(origins), frozenset(origins)
    rng.shuffle(order)
    while len(found) < count:
        text = order[len(found) % len(order)] if rng.random() < 0.8 else rng.choice(order)
        text = _NUMBER.sub(lambda match: str(max(1, round(int(match[0]) * rng.uniform(0.4, 2.5)))), text)
        text = altered(hurried(text, rng), rng, foreign)
        if text not in known:
            found[text] = None
    return list(found)


def composed_tasks(count: int, known: Sequence[str], seed: int = 5, *, share_of_odd: float = 0.1) -> list[str]:
    """`count` distinct descriptions, none of them in `known`.

    Args:
        share_of_odd: how many are made of two pieces of work; half as many name a thing of another trade.
    """
    rng = random.Random(seed)
    found: dict[str, None] = {}
    seen = frozenset(known)
    while len(found) < count:
        text = _task(rng, share_of_odd / 2)
        if rng.random() < share_of_odd:
            joint = rng.choice(("and", "then", "from", "of", "using", "after you"))
            text = f"{text} {joint} {_task(rng, share_of_odd / 2)}"
        text = rng.choice(_VOICES).format(text)
        if text not in seen:
            found[text] = None
    return list(found)


def _task(rng: random.Random, share_of_foreign: float) -> str:
    topic = rng.randrange(len(_WORK))
    other = rng.randrange(len(_WORK)) if rng.random() < share_of_foreign else topic
    number = rng.choice((2, 3, 5, 8, 12, 18, 24, 50, 100, 720, 1080, 2000))
    return f"{rng.choice(_WORK[topic])} {rng.choice(_THINGS[other])}{rng.choice(_TAILS)}".replace("{n}", str(number))
