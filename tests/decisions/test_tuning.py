import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from conductor.decisions.keeping import judge
from conductor.decisions.tuning import Adjustment, Examples, Head, Matrix, TunedMind, class_weights, fit, log_losses

WIDTH = 12
RANDOM = np.random.default_rng(7)


def directions(count: int) -> Matrix:
    found = RANDOM.normal(size=(count, WIDTH))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def spread(count: int) -> Matrix:
    return RANDOM.dirichlet(np.ones(6), size=count)


def examples(embeddings: Matrix, probabilities: Matrix, classes: list[int], weight: float = 1.0) -> Examples:
    return Examples(embeddings, probabilities, np.eye(6)[classes], np.full(len(classes), weight))


@given(
    probabilities=arrays.arrays(np.float64, (6,), elements=st.floats(0, 1)).filter(lambda row: row.sum() > 0.1),
    embedding=arrays.arrays(np.float32, (WIDTH,), elements=st.floats(-1, 1, width=32)),
)
@settings(max_examples=100, deadline=None)
def test_a_zero_adapter_changes_no_digit(
    probabilities: Matrix, embedding: "np.ndarray[tuple[int], np.dtype[np.float32]]"
) -> None:
    devices = probabilities / probabilities.sum()
    kinds = np.full(15, 1 / 15)

    adjusted = TunedMind("none", "", Adjustment.zero(WIDTH)).adjust(embedding, devices, kinds)

    assert adjusted.devices.tobytes() == devices.tobytes()
    assert adjusted.kinds.tobytes() == kinds.tobytes()


def test_without_examples_the_fit_is_the_zero_adapter() -> None:
    head = fit(examples(np.zeros((0, WIDTH)), np.zeros((0, 6)), []))

    assert (head.scale, float(np.abs(head.weights).max()), float(np.abs(head.bias).max())) == (1.0, 0.0, 0.0)


def test_the_fit_is_the_minimum_from_which_no_step_leads_down() -> None:
    """Compared with plain gradient descent, which needs thousands of steps for the same."""
    embeddings, probabilities = directions(30), spread(30)
    classes = [place % 6 for place in range(30)]
    head = fit(examples(embeddings, probabilities, classes))

    logs, targets = np.log(probabilities), np.eye(6)[classes]
    weights, bias, scale = np.zeros((6, WIDTH)), np.zeros(6), 1.0
    for _ in range(20_000):
        logits = scale * logs + embeddings @ weights.T + bias
        fitted = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = fitted / fitted.sum(axis=1, keepdims=True) - targets
        weights -= 0.005 * (error.T @ embeddings + 0.3 * weights)
        bias -= 0.005 * (error.sum(axis=0) + 10.0 * bias)
        scale -= 0.001 * (float((error * logs).sum()) + 200.0 * (scale - 1.0))

    np.testing.assert_allclose(head.weights, weights, atol=1e-3)
    np.testing.assert_allclose(head.bias, bias, atol=1e-3)
    assert head.scale == pytest.approx(scale, abs=1e-3)


def test_one_example_moves_its_own_text_and_hardly_another() -> None:
    embeddings = np.eye(WIDTH)[:2]
    sure = np.array([[0.02, 0.02, 0.02, 0.02, 0.02, 0.9]] * 2)

    head = fit(examples(embeddings[:1], sure[:1], [0]))

    own, other = head.apply(embeddings, sure)
    assert own[0] > 2 * sure[0, 0]
    assert np.abs(other - sure[1]).max() < 0.02


def test_corrected_rows_are_probabilities_even_where_a_model_was_certain() -> None:
    head = Head(RANDOM.normal(size=(6, WIDTH)) * 100, np.zeros(6), 0.7)

    rows = head.apply(directions(50), np.eye(6)[[place % 6 for place in range(50)]])

    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    assert (rows >= 0).all()


def an_adjustment() -> Adjustment:
    return Adjustment(
        Head(RANDOM.normal(size=(6, WIDTH)), RANDOM.normal(size=6), 0.9),
        Head(RANDOM.normal(size=(15, WIDTH)), RANDOM.normal(size=15), 1.1),
    )


def test_an_adjustment_made_of_its_arrays_decides_to_the_last_digit_as_it_did() -> None:
    first = an_adjustment()
    again = Adjustment.of(first.arrays(), width=WIDTH)

    rows, devices = directions(5), spread(5)
    assert again.device.apply(rows, devices).tobytes() == first.device.apply(rows, devices).tobytes()
    assert again.kind.scale == 1.1


@pytest.mark.parametrize(
    "changed",
    [{"kind_bias": np.zeros(14)}, {"device_weights": np.full((6, WIDTH), np.nan)}, {"device_scale": np.array(1)}],
    ids=["shape", "not a number", "type"],
)
def test_arrays_that_are_no_adjustment_are_refused(changed: dict[str, Matrix]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        Adjustment.of(an_adjustment().arrays() | changed, width=WIDTH)
    with pytest.raises(ValueError, match="device_weights"):
        Adjustment.of(an_adjustment().arrays(), width=WIDTH + 1)


def test_rare_classes_count_more_but_no_more_than_twice() -> None:
    factors = class_weights(np.array([0] * 98 + [1, 2]))

    assert factors[-1] == 2.0
    assert 0.5 <= factors[0] < 1.0


def certain_of(classes: list[int], certainty: float) -> Matrix:
    rows = np.full((len(classes), 6), (1 - certainty) / 5)
    rows[np.arange(len(classes)), classes] = certainty
    return rows


RIGHT = [place % 6 for place in range(24)]
WRONG = [(place + 1) % 6 for place in range(24)]
TARGETS = np.eye(6)[RIGHT]
GUARD = (certain_of(RIGHT, 0.9), certain_of(RIGHT, 0.9))


@pytest.mark.parametrize(
    ("held_out", "guard", "kept", "because"),
    [
        ((certain_of(WRONG, 0.8), certain_of(RIGHT, 0.8)), GUARD, True, "better"),
        ((certain_of(RIGHT, 0.8), certain_of(RIGHT, 0.8)), GUARD, False, "not clearly lower"),
        ((certain_of(WRONG, 0.99), certain_of(WRONG, 0.2)), GUARD, False, "a die"),
        (
            (certain_of(WRONG, 0.8), certain_of(RIGHT, 0.8)),
            (GUARD[0], certain_of([*RIGHT[:-3], *WRONG[-3:]], 0.9)),
            False,
            "forgets",
        ),
        ((certain_of(WRONG, 0.8), certain_of(RIGHT, 0.8)), (GUARD[0], certain_of(RIGHT, 0.6)), False, "unsure"),
        (
            (certain_of(RIGHT, 0.3), np.concatenate([certain_of(RIGHT[:-1], 0.9), certain_of(WRONG[-1:], 0.3)])),
            GUARD,
            False,
            "less often",
        ),
    ],
)
def test_only_what_is_better_and_forgot_nothing_is_kept(
    held_out: tuple[Matrix, Matrix], guard: tuple[Matrix, Matrix], kept: bool, because: str
) -> None:
    found = judge(held_out=held_out, guard=guard, held_out_targets=TARGETS, guard_targets=TARGETS)

    assert found.kept is kept
    assert because in found.because


def test_log_loss_is_that_of_the_class_that_was_right() -> None:
    np.testing.assert_allclose(log_losses(certain_of([2], 0.5), np.eye(6)[[2]]), [np.log(2)])
