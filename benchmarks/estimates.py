"""Predicted beside measured duration: the five example workloads, thirty runs each at several sizes, one after the other.

A fresh installation knows nothing at the start and learns from each outcome. What counts are the last ten runs of each
workload: how many measured durations lie within ±20 % of what was predicted, and how many within the 80 % interval.

The peers are three predictors that see the same runs: the last duration, the mean of all before, and the last duration
at this very size (which knows the sizes and needs no model as long as sizes repeat). Not covered: a machine that is busy
with other things; its noise is measured as if it were the workload's own.
"""

import asyncio
import csv
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Final

import imageio_ffmpeg

from benchmarks.harness import ROOT, Goal, Row, WrongResult, compare
from conductor.app.conductor import Conductor
from conductor.domain.json import JsonObject
from conductor.domain.task import Submission
from conductor.domain.workload import Workload

RUNS: Final = 30
LAST: Final = 10
TOLERANCE: Final = 0.2
EXAMPLES: Final = ROOT / "examples"
OURS: Final = "ours"
SHARE_WITHIN: Final = Goal("at least", 80)


@dataclass(frozen=True, slots=True)
class Example:
    """One workload at several sizes; a description as somebody would write it."""

    name: str
    description: str
    kind: str
    specs: tuple[JsonObject, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: which size, what was predicted, what it took."""

    size: int
    predicted_s: float
    low_s: float
    high_s: float
    measured_s: float


def run() -> list[Row]:
    """All rows of this benchmark."""
    with tempfile.TemporaryDirectory(prefix="bench-estimates-") as folder:
        runs = asyncio.run(measure(Path(folder)))
    for name, done in runs.items():
        print(f"{name}: " + ", ".join(f"{r.predicted_s:.2f} → {r.measured_s:.2f}" for r in done[-LAST:]) + " s")
    return rows_of(runs)


def rows_of(runs: Mapping[str, Sequence[Run]]) -> list[Row]:
    """The shares per workload and over all, beside each predictor; then how good the intervals were."""
    shares = {name: predicted_shares(done) for name, done in runs.items()}
    shares["all"] = {name: fmean(share[name] for share in shares.values()) for name in (OURS, *PEERS)}
    rows = [row for name, share in shares.items() for row in _within_rows(name, share)]
    held = {name: covered(done) for name, done in runs.items()}
    held["all"] = fmean(held.values())
    rows += [
        compare(f"{name}: last {LAST} inside the 80 % interval", "%", [share], more_is_better=True, goal=SHARE_WITHIN)
        for name, share in held.items()
    ]
    widths = [median((r.high_s - r.low_s) / r.measured_s for done in runs.values() for r in done[-LAST:])]
    return [*rows, compare("all: width of the interval, median", "× measured", widths, more_is_better=False)]


def predicted_shares(runs: Sequence[Run]) -> dict[str, float]:
    """Per cent within ±20 % of our prediction and of each peer's."""
    ours = within([r.predicted_s for r in runs], runs)
    return {OURS: ours} | {name: within(predict(runs), runs) for name, predict in PEERS.items()}


def _within_rows(name: str, shares: Mapping[str, float]) -> list[Row]:
    return [
        compare(
            f"{name}: last {LAST} within ±20 %",
            "%",
            [shares[OURS]],
            more_is_better=True,
            peer_name=peer,
            peer=[shares[peer]],
            goal=SHARE_WITHIN,
        )
        for peer in PEERS
    ]


def within(predictions: Sequence[float | None], runs: Sequence[Run]) -> float:
    """Per cent of the last ten runs whose measured duration lies within ±20 % of the prediction."""
    pairs = list(zip(predictions, runs, strict=True))[-LAST:]
    near = [p is not None and abs(r.measured_s - p) <= TOLERANCE * p for p, r in pairs]
    return 100 * sum(near) / len(near)


def covered(runs: Sequence[Run]) -> float:
    """Per cent of the last ten runs that the interval held."""
    last = runs[-LAST:]
    return 100 * sum(r.low_s <= r.measured_s <= r.high_s for r in last) / len(last)


def last_values(runs: Sequence[Run]) -> list[float | None]:
    """Each run predicted by the one before."""
    return [None, *(r.measured_s for r in runs[:-1])]


def means_so_far(runs: Sequence[Run]) -> list[float | None]:
    """Each run predicted by the mean of all before."""
    return [fmean(r.measured_s for r in runs[:number]) if number else None for number in range(len(runs))]


def last_at_size(runs: Sequence[Run]) -> list[float | None]:
    """Each run predicted by the last one of its size, or simply the last one while there is none."""
    seen: dict[int, float] = {}
    predictions: list[float | None] = []
    for number, r in enumerate(runs):
        predictions.append(seen.get(r.size, runs[number - 1].measured_s if number else None))
        seen[r.size] = r.measured_s
    return predictions


PEERS: Final[Mapping[str, Callable[[Sequence[Run]], Sequence[float | None]]]] = {
    "last duration": last_values,
    "mean so far": means_so_far,
    "last duration at this size": last_at_size,
}


async def measure(folder: Path) -> dict[str, list[Run]]:
    """Run every example thirty times, in turn; sizes come in an order that is shuffled the same way each time."""
    examples = make_examples(folder)
    order = random.Random(7)
    sizes = {example.name: shuffled(len(example.specs), order) for example in examples}
    runs: dict[str, list[Run]] = {example.name: [] for example in examples}
    async with Conductor.open(data_dir=folder / "installation") as conductor:
        for number in range(RUNS):
            for example in examples:
                runs[example.name].append(await run_once(conductor, example, sizes[example.name][number]))
    return runs


def shuffled(sizes: int, order: random.Random) -> list[int]:
    """Thirty size numbers, each size equally often as far as that is possible."""
    numbers = [number % sizes for number in range(RUNS)]
    order.shuffle(numbers)
    return numbers


async def run_once(conductor: Conductor, example: Example, size: int) -> Run:
    """Submit one run and wait for its end.

    Raises:
        WrongResult: it failed, so its duration means nothing.
    """
    workload = Workload(kind=example.kind, spec=example.specs[size])
    task = await conductor.tasks.submit(Submission(description=example.description, workload=workload))
    task = await conductor.tasks.wait(task.task_id, timeout_s=600)
    if task.outcome is None or task.decision is None or not task.outcome.succeeded:
        raise WrongResult(f"{example.name} {example.specs[size]} is {task.state}: {task.outcome}")
    predicted = task.decision.duration_s
    return Run(size, predicted.value, predicted.low, predicted.high, task.outcome.duration_s)


def make_examples(folder: Path) -> list[Example]:
    """The five workloads of `examples/`; what they write goes below `folder`."""
    return [
        Example("encode", "Encode this clip to H.264", "command", tuple(_encodings(folder))),
        Example(
            "sharpen",
            "Apply a sharpening filter to these photos",
            "python",
            tuple(
                _call(
                    "filters:sharpen", folder=str(EXAMPLES / "photos"), output=str(folder / "sharpened"), repeat=times
                )
                for times in (1, 2, 3, 4)
            ),
        ),
        Example("resample", "Resample this recording to 48 kHz", "command", tuple(_resamplings(folder))),
        Example("embed", "Score these reviews with the embedding model", "embed", tuple(_review_files(folder))),
        Example(
            "orbits",
            "Simulate the orbits of planets around a star",
            "python",
            tuple(_call("simulation:orbits", steps=steps) for steps in (1000, 2000, 3000, 4000, 6000)),
        ),
    ]


def _call(name: str, **arguments: str | int) -> JsonObject:
    return {"callable": f"examples.{name}", "args": arguments, "directory": str(ROOT)}


def _ffmpeg(folder: Path, *arguments: str) -> JsonObject:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    return {"command": [program, "-y", "-loglevel", "error", *arguments], "directory": str(folder)}


def _encodings(folder: Path) -> list[JsonObject]:
    clip = str(EXAMPLES / "clip.mkv")
    shapes = [("2", "480x270"), ("4", "480x270"), ("6", "480x270"), ("6", "240x136"), ("6", "960x540")]
    return [
        _ffmpeg(folder, "-i", clip, "-t", seconds, "-s", frame, "-c:v", "libx264", "encoded.mp4")
        for seconds, frame in shapes
    ]


def _resamplings(folder: Path) -> list[JsonObject]:
    chord = str(EXAMPLES / "chord-44k1.wav")
    return [
        _ffmpeg(folder, "-stream_loop", str(repeats), "-i", chord, "-ar", "48000", "resampled.wav")
        for repeats in (50, 100, 150, 200, 300)
    ]


def _review_files(folder: Path) -> list[JsonObject]:
    with (EXAMPLES / "reviews.csv").open(encoding="utf-8", newline="") as source:
        reader = csv.DictReader(source)
        columns, reviews = list(reader.fieldnames or []), list(reader)
    column = next((name for name in columns if name in ("text", "review")), columns[-1])
    specs: list[JsonObject] = []
    for copies in (1, 2, 4, 6, 8):
        file = folder / f"reviews-{copies}.csv"
        with file.open("w", encoding="utf-8", newline="") as target:
            writer = csv.DictWriter(target, columns)
            writer.writeheader()
            writer.writerows(reviews * copies)
        specs.append({"file": str(file), "column": column})
    return specs
