from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from conductor.decisions.labels import Label, Source, gather_labels, missing, split, text_digest
from conductor.decisions.ports import Experience
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType, TaskKind

GPU, CPU, DSP = DeviceType.GPU, DeviceType.CPU, DeviceType.DSP


def said(text: str, device: DeviceType) -> Correction:
    return Correction(
        task_id="t1", description=text, device=device, task_kind=None, priority=None, by="local", at_unix_s=0.0
    )


def ran(text: str, on: DeviceType, took_s: float, *, well: bool = True, signature: str = "") -> Experience:
    return Experience(
        task_id="t1",
        description=text,
        embedding=np.zeros(4, dtype=np.float32),
        device=GPU,
        available_device=on,
        task_kind=TaskKind.GENERAL,
        signature=signature,
        sizes={},
        node_id="n1",
        succeeded=well,
        duration_s=took_s,
        compute_units=1.0,
        predicted_duration_s=1.0,
        confidence=0.5,
        at_unix_s=0.0,
    )


def devices(labels: Sequence[Label]) -> dict[str, DeviceType]:
    return {label.text: label.device for label in labels}


def test_a_persons_word_wins_over_metadata_and_that_over_outcomes() -> None:
    runs = [ran(text, on, 9.0 if on is CPU else 1.0) for text in "abc" for on in (CPU, CPU, GPU, GPU)]

    labels = gather_labels([said("a", DSP)], [("a", CPU), ("b", CPU)], runs)

    assert devices(labels) == {"a": DSP, "b": CPU, "c": GPU}
    assert {label.text: label.weight for label in labels} == {"a": 1.0, "b": 0.7, "c": 0.5}


def test_the_latest_correction_of_a_text_counts_whatever_its_case_and_spacing() -> None:
    assert [label.device for label in gather_labels([said("Sum  it", GPU), said("sum it", CPU)], [], [])] == [CPU]


def test_success_on_a_substitute_alone_says_nothing() -> None:
    assert gather_labels([], [], [ran("a", CPU, 1.0)] * 50) == []


def test_one_run_on_another_type_is_no_comparison() -> None:
    assert gather_labels([], [], [*[ran("a", CPU, 9.0)] * 5, ran("a", GPU, 1.0)]) == []


def test_times_that_are_nearly_the_same_say_nothing() -> None:
    assert gather_labels([], [], [*[ran("a", CPU, 1.1)] * 3, *[ran("a", GPU, 1.0)] * 3]) == []


def test_what_fails_is_not_preferred_for_being_quick() -> None:
    runs = [*[ran("a", GPU, 0.1, well=False)] * 3, *[ran("a", CPU, 5.0)] * 3]

    assert devices(gather_labels([], [], runs)) == {"a": CPU}


def test_where_everything_fails_nothing_is_learned() -> None:
    assert gather_labels([], [], [ran("a", on, 1.0, well=False) for on in (CPU, CPU, GPU, GPU)]) == []


def a_label(text: str, device: DeviceType = GPU, group: str = "") -> Label:
    return Label(text=text, device=device, kind=None, source=Source.CORRECTION, group=group or text_digest(text))


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.sampled_from([GPU, CPU, DSP]), st.integers(0, 60)), max_size=150,
        unique_by=lambda row: row[0],
    )
)  # fmt: skip
def test_no_workload_stands_on_both_sides_and_both_are_large_enough(rows: list[tuple[int, DeviceType, int]]) -> None:
    labels = [a_label(f"text {text}", device, f"group {group}") for text, device, group in rows]

    parts = split(labels)

    if parts is None:
        return
    assert sorted(map(str, [*parts.taught, *parts.held_out])) == sorted(map(str, labels))
    assert not {label.group for label in parts.taught} & {label.group for label in parts.held_out}
    assert len(parts.held_out) >= max(10, len(labels) / 5)
    assert len(parts.taught) >= 10


def test_every_device_is_on_both_sides_in_proportion() -> None:
    labels = [a_label(f"text {place}", GPU if place % 4 else DSP) for place in range(100)]

    parts = split(labels)

    assert parts is not None
    assert [sum(label.device is device for label in parts.held_out) for device in (GPU, DSP)] == [15, 5]


def test_twenty_texts_of_one_workload_are_too_few_and_twenty_of_different_work_are_enough() -> None:
    assert split([a_label(f"text {place}", group="one") for place in range(20)]) is None
    assert split([a_label(f"text {place}") for place in range(20)]) is not None
    assert split([a_label(f"text {place}") for place in range(19)]) is None
    assert missing([a_label("text")] * 12) == 8


def test_a_new_label_moves_hardly_any_text_to_the_other_side() -> None:
    labels = [a_label(f"text {place}") for place in range(200)]
    before, after = split(labels[:180]), split(labels)

    assert before is not None
    assert after is not None
    moved = {label.text for label in before.held_out} & {label.text for label in after.taught}
    assert len(moved) <= 5
