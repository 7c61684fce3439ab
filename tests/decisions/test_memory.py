import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decisions.arrangement import START_UNIX_S

from conductor.decisions.memory import ExperienceMemory, Nearest
from conductor.decisions.ports import Experience, FloatArray
from conductor.domain.device import DeviceType, TaskKind

WIDTH = 16


def a_vector(seed: int) -> FloatArray:
    vector = np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def an_experience(number: int, *, succeeded: bool = True, width: int = WIDTH) -> Experience:
    return Experience(
        task_id=f"t{number}",
        description=f"task {number}",
        embedding=a_vector(number)[:width],
        device=DeviceType.CPU,
        available_device=DeviceType.CPU,
        task_kind=TaskKind.GENERAL,
        signature="",
        sizes={},
        node_id="desk",
        succeeded=succeeded,
        duration_s=1.0,
        compute_units=1.0,
        predicted_duration_s=1.0,
        confidence=0.5,
        at_unix_s=START_UNIX_S + number,
    )


def a_memory(count: int, *, places: int = 1000, neighbours: int = 4) -> ExperienceMemory:
    memory = ExperienceMemory(width=WIDTH, places=places, neighbours=neighbours)
    for number in range(count):
        memory.remember(an_experience(number))
    return memory


@settings(deadline=None)
@given(count=st.integers(1, 400), seed=st.integers(10_000, 20_000))
def test_the_nearest_are_those_of_highest_cosine(count: int, seed: int) -> None:
    memory, query = a_memory(count), a_vector(seed)

    found = memory.recall(query, memory.nearest(query))

    cosines = sorted((float(a_vector(number) @ query) for number in range(count)), reverse=True)
    assert np.allclose([cosine for _, cosine in found], cosines[:4], atol=1e-5)


@settings(deadline=None)
@given(before=st.integers(0, 60), after=st.integers(0, 60), places=st.integers(5, 40))
def test_bringing_an_answer_up_to_date_equals_searching_anew_unless_found_places_were_lost(
    before: int, after: int, places: int
) -> None:
    memory, query = a_memory(before, places=places), a_vector(99_999)
    known = memory.nearest(query)
    for number in range(before, before + after):
        memory.remember(an_experience(number))

    updated = memory.recall(query, memory.nearest(query, known))
    anew = memory.recall(query, memory.nearest(query))

    if before + after <= places:
        assert [memory.task_id for memory, _ in updated] == [memory.task_id for memory, _ in anew]
    assert len(updated) == len(anew)
    assert updated[0][1] <= anew[0][1] + 1e-6 if anew else not updated


def test_the_oldest_place_is_given_up_when_the_ring_is_full() -> None:
    memory = a_memory(25, places=10, neighbours=10)

    remembered = {found.task_id for found, _ in memory.recall(a_vector(0), memory.nearest(a_vector(0)))}

    assert len(memory) == 10
    assert remembered == {f"t{number}" for number in range(15, 25)}


def test_runs_of_the_same_task_share_one_place() -> None:
    memory = a_memory(3)
    for succeeded in (True, True, False):
        memory.remember(an_experience(1, succeeded=succeeded))

    nearest, cosine = memory.recall(a_vector(1), memory.nearest(a_vector(1)))[0]

    assert len(memory) == 3
    assert (nearest.successes, nearest.failures, nearest.succeeded) == (3, 1, False)
    assert abs(cosine - 1.0) < 1e-5


def test_an_embedding_of_another_encoder_is_left_out() -> None:
    memory = a_memory(2)

    assert memory.remember(an_experience(3, width=8)) == 0
    assert len(memory) == 2


def test_an_empty_memory_finds_nothing() -> None:
    memory = a_memory(0)

    assert memory.nearest(a_vector(1)) == Nearest()
    assert list(memory.recall(a_vector(1), Nearest())) == []
