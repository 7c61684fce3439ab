"""The answer cache keeps what was used last within its bytes and its age, and forgets a model at once."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.model import ModelName
from conductor.serving.answer_cache import ENTRY_BYTES, AnswerCache, MemoryLevel, key_of
from conductor.serving.ports import KeptAnswer, LevelCounts

A, B = ModelName("a"), ModelName("b")


@dataclass
class Clock:
    now_s: float = 1000.0

    def now_unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


class Slower:
    """A slower level in memory that answers when it is let."""

    name = "slower"

    def __init__(self) -> None:
        self.counts = LevelCounts()
        self.kept: dict[str, tuple[ModelName, KeptAnswer]] = {}
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def get(self, key: str, model: ModelName, *, not_before_unix_s: float) -> KeptAnswer | None:
        found = self.kept.get(key)
        await self.may_answer.wait()
        return found[1] if found and found[1].kept_at_unix_s >= not_before_unix_s else None

    async def put(self, key: str, model: ModelName, answer: KeptAnswer) -> None:
        self.kept[key] = (model, answer)

    async def forget(self, model: ModelName | None) -> int:
        gone = [key for key, (whose, _) in self.kept.items() if model in (None, whose)]
        for key in gone:
            del self.kept[key]
        return len(gone)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@given(
    st.integers(0, 10 * ENTRY_BYTES),
    st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh"), st.integers(0, 3 * ENTRY_BYTES)), max_size=60),
)
def test_memory_never_holds_more_than_its_bytes_and_gives_up_what_was_used_longest_ago(
    most_bytes: int, steps: list[tuple[bool, str, int]]
) -> None:
    level, model = MemoryLevel(most_bytes), OrderedDict[str, int]()
    for puts, key, length in steps:
        if puts:
            level.put(key, A, KeptAnswer(b"x" * length, 0.0))
            model.pop(key, None)
            if length + ENTRY_BYTES <= most_bytes:
                while sum(model.values()) + length + ENTRY_BYTES > most_bytes:
                    model.popitem(last=False)
                model[key] = length + ENTRY_BYTES
        else:
            assert (level.get(key, not_before_unix_s=0.0) is not None) is (key in model)
            if key in model:
                model.move_to_end(key)
        assert level.counts.bytes == sum(model.values()) <= most_bytes
        assert level.counts.entries == len(model)


@pytest.mark.anyio
async def test_an_answer_that_is_older_than_the_bound_is_not_given_out() -> None:
    clock = Clock()
    cache = AnswerCache(clock=clock, most_bytes=10_000, most_age_s=60.0)
    cache.keep("k", A, b"answer", cache.turn(A))
    clock.now_s += 60
    assert (found := await cache.find("k", A)) is not None
    assert found.body == b"answer"
    clock.now_s += 1
    assert await cache.find("k", A) is None
    counts = cache.levels()["memory"]
    assert (counts.hits, counts.misses, counts.expired, counts.entries, counts.bytes) == (1, 1, 1, 0, 0)


@pytest.mark.anyio
async def test_forgetting_one_model_leaves_the_others() -> None:
    cache = AnswerCache(clock=Clock(), most_bytes=10_000, most_age_s=60.0)
    cache.keep("1", A, b"a", cache.turn(A))
    cache.keep("2", B, b"b", cache.turn(B))
    assert cache.forget(A) == 1
    assert await cache.find("1", A) is None
    assert await cache.find("2", B) is not None
    assert cache.forget() == 1
    assert await cache.find("2", B) is None


@pytest.mark.parametrize("whom", [A, None])
@pytest.mark.anyio
async def test_an_answer_that_was_begun_before_its_model_was_forgotten_is_not_kept(whom: ModelName | None) -> None:
    cache = AnswerCache(clock=Clock(), most_bytes=10_000, most_age_s=60.0)
    turn = cache.turn(A)
    cache.forget(whom)
    cache.keep("k", A, b"stale", turn)
    assert await cache.find("k", A) is None


@pytest.mark.anyio
async def test_the_slower_level_is_asked_where_memory_has_nothing_and_its_answer_is_taken_into_memory() -> None:
    slower, clock = Slower(), Clock()
    first = AnswerCache(clock=clock, most_bytes=10_000, most_age_s=60.0, slower=slower)
    first.keep("k", A, b"answer", first.turn(A))
    await first.hand_on()
    second = AnswerCache(clock=clock, most_bytes=10_000, most_age_s=60.0, slower=slower)
    assert (found := await second.find("k", A)) is not None
    assert found.body == b"answer"
    slower.kept.clear()
    assert await second.find("k", A) is not None


@pytest.mark.anyio
async def test_what_is_forgotten_is_not_given_out_while_the_slower_level_does_not_know_it_yet() -> None:
    slower = Slower()
    cache = AnswerCache(clock=Clock(), most_bytes=0, most_age_s=60.0, slower=slower)
    cache.keep("k", A, b"answer", cache.turn(A))
    await cache.hand_on()
    assert await cache.find("k", A) is not None
    slower.may_answer.clear()
    asked = asyncio.create_task(cache.find("k", A))
    await asyncio.sleep(0)
    cache.forget(A)
    slower.may_answer.set()
    assert await asked is None, "it was forgotten while the slower level looked for it"
    assert await cache.find("k", A) is None
    await cache.hand_on()
    assert not slower.kept


@pytest.mark.anyio
async def test_what_waits_for_the_slower_level_reaches_it_when_the_owner_ends() -> None:
    slower = Slower()
    cache = AnswerCache(clock=Clock(), most_bytes=10_000, most_age_s=60.0, slower=slower)
    running = asyncio.create_task(cache.run())
    await asyncio.sleep(0)
    cache.keep("k", A, b"answer", cache.turn(A))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "k" in slower.kept


def test_members_in_another_order_are_another_request() -> None:
    assert key_of({"form": {"a": 1, "b": 2}}) != key_of({"form": {"b": 2, "a": 1}})
    assert key_of({"form": {"a": 1}}) == key_of({"form": {"a": 1}})


def test_what_cannot_be_written_as_json_has_no_key() -> None:
    with pytest.raises(TypeError, match="no part of a key"):
        key_of({"options": object()})
