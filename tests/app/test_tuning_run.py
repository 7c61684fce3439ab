"""One fit on the shipped encoder: labels that hang together are learned, labels drawn at random are not."""

import random
from collections.abc import Callable, Sequence

import pytest

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.mind_tuning.guard import read_guard
from conductor.app.minds.tuning_run import Outcome, read_material, tune
from conductor.decisions.analyse import Analysis, Analyst
from conductor.decisions.labels import gather_labels, split
from conductor.decisions.tuning import TunedMind
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType

SUBJECTS = ["ledger", "invoices", "orders", "stock", "prices", "returns", "routes", "stores", "claims", "meters"]
TEXTS = [f"nightly-{subject} {doing}" for subject in SUBJECTS for doing in ("roll-up", "refresh", "for all shops", "2")]

Fit = Callable[..., Outcome]


@pytest.fixture(scope="module")
def fit() -> Fit:
    analyst, read = Analyst(OnnxEncoder()), dict[str, Analysis]()

    def reading(texts: Sequence[str]) -> list[Analysis]:
        new = [text for text in texts if text not in read]
        read.update(zip(new, analyst.untuned(new) if new else [], strict=True))
        return [read[text] for text in texts]

    def fitted(devices: Sequence[DeviceType], in_use: TunedMind | None = None) -> Outcome:
        said = [
            Correction(
                task_id="t1", description=text, device=device, task_kind=None, priority=None, by="ada", at_unix_s=0.0
            )
            for text, device in zip(TEXTS, devices, strict=True)
        ]
        parts = split(gather_labels(said, [], []))
        assert parts is not None
        return tune(read_material(reading, parts, read_guard(), lambda done, total: None), in_use)

    return fitted


def test_a_word_of_this_site_is_learned_for_texts_that_were_set_aside(fit: Fit) -> None:
    judgement = fit([DeviceType.GPU] * len(TEXTS)).judgement

    assert judgement.kept, judgement.because
    assert judgement.held_out_before.right < 0.5 < 0.8 < judgement.held_out_after.right
    assert judgement.guard_after.right > judgement.guard_before.right - 0.025  # two of 105 may be chance


def test_the_same_labels_give_the_same_version_and_it_does_not_replace_itself(fit: Fit) -> None:
    devices = [DeviceType.GPU] * len(TEXTS)
    first = fit(devices)
    again = fit(devices, TunedMind("first", "", first.adjustment))

    assert again.adjustment.device.weights.tobytes() == first.adjustment.device.weights.tobytes()
    assert not again.judgement.kept
    assert "not clearly lower" in again.judgement.because


def test_labels_drawn_at_random_are_hardly_ever_kept(fit: Fit) -> None:
    outcomes = [fit([random.Random(f"{seed} {text}").choice(list(DeviceType)) for text in TEXTS]) for seed in range(12)]

    assert sum(outcome.judgement.kept for outcome in outcomes) <= 1
