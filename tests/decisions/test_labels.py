from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from conductor.decisions.labels import Label, Source, gather_labels, shortage, split, text_digest
from conductor.decisions.ports import Experience
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType, TaskKind

GPU, CPU, DSP = DeviceType.GPU, DeviceType.CPU, DeviceType.DSP


def said(
    text: str, device: DeviceType | None, *, kind: TaskKind | None = None, priority: int | None = None
) -> Correction:
    return Correction(
        task_id="t1", description=text, device=device, task_kind=kind, priority=priority, by="local", at_unix_s=0.0
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


def devices(labels: Sequence[Label]) -> dict[str, DeviceType | None]:
    return {label.text: label.device for label in labels}


def test_a_persons_word_wins_over_metadata_and_that_over_outcomes() -> None:
    runs = [ran(text, on, 9.0 if on is CPU else 1.0) for text in "abc" for on in (CPU, CPU, GPU, GPU)]

    labels = gather_labels([said("a", DSP)], [("a", CPU), ("b", CPU)], runs)

    assert devices(labels) == {"a": DSP, "b": CPU, "c": GPU}
    assert {label.text: label.weight for label in labels} == {"a": 1.0, "b": 0.7, "c": 0.5}


def test_the_latest_correction_of_a_text_counts_whatever_its_case_and_spacing() -> None:
    assert [label.device for label in gather_labels([said("Sum  it", GPU), said("sum it", CPU)], [], [])] == [CPU]


def test_a_correction_of_the_kind_leaves_the_device_that_others_named_as_it_was() -> None:
    kind = TaskKind.TRAINING
    (label,) = gather_labels([said("a", None, kind=kind)], [("a", DSP)], [])

    assert (label.device, label.kind, label.source) == (DSP, kind, Source.METADATA)


def test_a_correction_of_the_priority_alone_is_no_label() -> None:
    assert gather_labels([said("a", None, priority=1)], [], []) == []


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


def a_label(text: str, device: DeviceType | None = GPU, group: str = "") -> Label:
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


def test_a_text_with_a_kind_but_no_device_neither_judges_nor_counts_as_taught() -> None:
    with_device = [a_label(f"text {place}") for place in range(19)]

    assert split([*with_device, *(a_label(f"kind {place}", None) for place in range(50))]) is None


@given(
    st.lists(st.tuples(st.sampled_from([GPU, CPU, None]), st.integers(0, 9)), max_size=40),
)
def test_so_many_more_labels_as_are_said_to_be_missing_are_enough_and_fewer_are_not(
    rows: list[tuple[DeviceType | None, int]],
) -> None:
    labels = [a_label(f"text {place}", device, f"group {group}") for place, (device, group) in enumerate(rows)]
    found = shortage(labels)
    commonest = GPU if sum(device is GPU for device, _ in rows) else CPU

    def with_more(count: int) -> list[Label]:
        return [*labels, *(a_label(f"other work, number {number}", commonest) for number in range(count))]

    assert (found.missing == 0) == (split(labels) is not None)
    assert found.missing <= 64
    if all(device is commonest for device, _ in rows):
        assert split(with_more(found.missing)) is not None
        assert found.missing == 0 or split(with_more(found.missing - 1)) is None


def test_the_shortage_is_told_with_what_there_is() -> None:
    alike = shortage([a_label(f"text {place}", group="one") for place in range(28)])
    kinds = shortage([a_label("a"), *(a_label(f"kind {place}", None) for place in range(3))])

    assert (alike.labelled, alike.workloads) == (28, 1)
    assert "28 descriptions are labelled with the right device, but of 1 workload only" in alike.because()
    assert (kinds.labelled, kinds.kind_only, kinds.missing) == (1, 3, 19)
    assert "1 description is labelled with the right device (3 more name a kind of work without" in kinds.because()


def test_a_new_label_moves_hardly_any_text_to_the_other_side() -> None:
    labels = [a_label(f"text {place}") for place in range(200)]
    before, after = split(labels[:180]), split(labels)

    assert before is not None
    assert after is not None
    moved = {label.text for label in before.held_out} & {label.text for label in after.taught}
    assert len(moved) <= 5
