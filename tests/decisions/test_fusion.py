import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.decisions.form import DEVICES
from conductor.decisions.fusion import pooled
from conductor.decisions.ports import Pooling, Proposal
from conductor.domain.device import DeviceType, TaskKind

shares = st.lists(st.floats(0, 1), min_size=6, max_size=6).filter(lambda values: sum(values) > 0.01)


def a_proposal(values: list[float], pooling: Pooling | None = None) -> Proposal:
    probabilities = dict(zip(DEVICES, values, strict=True))
    if pooling is None:
        return Proposal(device_probabilities=probabilities, task_kind=TaskKind.GENERAL)
    return Proposal(device_probabilities=probabilities, task_kind=TaskKind.GENERAL, pooling=pooling)


def normal(values: list[float]) -> np.ndarray:
    return (np.array(values) / sum(values)).astype(np.float32)


@given(encoder=shares, proposed=shares)
def test_the_result_is_a_distribution_whatever_the_parts_say(encoder: list[float], proposed: list[float]) -> None:
    found = pooled(normal(encoder), a_proposal(proposed))

    assert found.sum() == pytest.approx(1)
    assert (found > 0).all()


@given(both=shares)
def test_two_parts_that_agree_on_the_winner_are_not_outvoted_by_their_joint(both: list[float]) -> None:
    encoder = normal(both)

    found = pooled(encoder, a_proposal(both, Pooling(encoder=0.6, language_model=0.5)))

    assert encoder[found.argmax()] == pytest.approx(encoder.max())


def test_without_a_proposal_the_encoder_decides_alone() -> None:
    encoder = normal([5, 1, 1, 1, 1, 1])

    assert pooled(encoder, None) == pytest.approx(encoder, abs=1e-3)


@pytest.mark.parametrize("values", [[0.0] * 6, [float("nan")] * 6, [float("inf"), 0, 0, 0, 0, 0]])
def test_a_proposal_that_says_nothing_changes_nothing(values: list[float]) -> None:
    encoder = normal([5, 1, 1, 1, 1, 1])

    assert pooled(encoder, a_proposal(values)) == pytest.approx(pooled(encoder, None))


def test_an_unproven_model_tips_a_close_call_and_not_a_clear_one() -> None:
    against = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]

    close = pooled(normal([0.52, 0, 0, 0, 0, 0.48]), a_proposal(against))
    clear = pooled(normal([0.97, 0.006, 0.006, 0.006, 0.006, 0.006]), a_proposal(against))

    assert DEVICES[int(close.argmax())] is DeviceType.CPU
    assert DEVICES[int(clear.argmax())] is DeviceType.GPU
