"""How long a decision takes, from text to answer: read by the encoder and by our language model, fused and concluded.

Cold is a process that has decided nothing yet: weights are compared with their digests, loaded, and the first text is
read. Warm is the 300 texts after that, each new. Beside it stand the two parts alone and the usual other ways to get the
same answer on this machine: a nearest-neighbour search over embeddings (no language model), and our own weights through
llama.cpp, where it is installed.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Final

from benchmarks.harness import Goal, Row, compare
from conductor.adapters.clock import SystemClock
from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.mind_llama.gguf_export import export_gguf
from conductor.adapters.mind_llama.model import OwnMind
from conductor.decisions.evaluate import IdleFleet
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import LanguageModel
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.errors import ModelError
from conductor.domain.task import Submission

TEXTS: Final = 300
COLD_RUNS: Final = 5
MEDIAN: Final = Goal("below", 50)
_VERBS: Final = ("transcode", "fine-tune", "resize", "resample", "detect people in", "back up", "simulate", "render")
_THINGS: Final = (
    "the interviews of May",
    "our defect photos",
    "IMG_2041.CR3",
    "a 40 minute podcast",
    "camera 7's stream",
)
_ENDS: Final = (
    "",
    " before nine, please",
    " with the settings of last week",
    " and tell me when it is done",
    " at 720p",
)
_COLD: Final = """
import time
began = time.perf_counter()
from benchmarks.decision import maker, submission
maker().decide("cold", submission("Transcode the 4K master to H.265 at 8 Mbit/s"))
print(time.perf_counter() - began)
"""


def texts() -> list[str]:
    """Distinct descriptions of usual length."""
    found = [
        f"{verb} {thing}{end} (job {number})"
        for number in range(2)
        for verb in _VERBS
        for thing in _THINGS
        for end in _ENDS
    ]
    return found[:TEXTS]


def maker(*, language_model: LanguageModel | None = None, alone: bool = False) -> DecisionMaker:
    """The decision maker as a fresh installation has it; `alone` leaves the language model out."""
    encoder = OnnxEncoder()
    mind = None if alone else language_model or OwnMind()
    return DecisionMaker(encoder, IdleFleet(), ExperienceMemory(width=encoder.width, places=1000), SystemClock(), mind)


def submission(text: str) -> Submission:
    """A task that only has a description."""
    return Submission(description=text)


def run() -> list[Row]:
    """All rows of this benchmark."""
    fused, encoder_only, mind = maker(), maker(alone=True), OwnMind()
    rows = [
        *_rows("decision", _timed(lambda text: fused.decide("warm", submission(text))), goal=MEDIAN),
        *_rows("encoder alone", _timed(lambda text: encoder_only.decide("warm", submission(text)))),
        *_rows("language model alone", _timed(lambda text: mind.propose([text])), peer=_through_llama_cpp()),
        compare("cold: imports, digests, loading, first decision", "ms", _cold_ms(), more_is_better=False),
    ]
    return rows


def _timed(decide: Callable[[str], object]) -> list[float]:
    """Milliseconds for each text, after a few to warm up."""
    for text in ("warm up", "once more", "and again"):
        decide(text)
    taken = []
    for text in texts():
        began = time.perf_counter()
        decide(text)
        taken.append((time.perf_counter() - began) * 1e3)
    return taken


def _rows(name: str, taken_ms: Sequence[float], goal: Goal | None = None, peer: Sequence[float] = ()) -> list[Row]:
    peer_name = "the same weights through llama.cpp" if peer else None
    mine, theirs = quantiles(taken_ms, n=20), quantiles(peer, n=20) if peer else []
    return [
        compare(
            f"{name}: warm, {label}",
            "ms",
            [mine[place]],
            more_is_better=False,
            peer_name=peer_name,
            peer=theirs[place : place + 1],
            goal=goal if label == "p50" else None,
        )
        for label, place in (("p50", 9), ("p95", 18))
    ]


def _cold_ms() -> list[float]:
    """Each in a process of its own."""
    return [
        float(subprocess.run([sys.executable, "-c", _COLD], check=True, capture_output=True, text=True).stdout) * 1e3
        for _ in range(COLD_RUNS)
    ]


def _through_llama_cpp() -> list[float]:
    """Milliseconds of the same weights run by llama.cpp; nothing where it is not installed."""
    try:
        from conductor.adapters.mind_llama.spoken import SpokenMind, spoken_form
        from conductor.adapters.minds.gguf import GgufModel

        with tempfile.TemporaryDirectory(prefix="bench-decision-") as folder:
            path = Path(folder, "conductor-mind.gguf")
            export_gguf(path)
            form = spoken_form(path)
            assert form is not None
            mind = SpokenMind(GgufModel(path, available_bytes=2**34, key="of this benchmark"), form)
            return _timed(lambda text: mind.propose([text]))
    except ModelError as missing:
        print(f"llama.cpp was not compared: {missing.message}")
        return []
