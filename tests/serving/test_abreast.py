"""Streams that run side by side come out one after another."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import pytest

from conductor.serving.abreast import in_order


class Running:
    """Streams that count how many of them are open."""

    def __init__(self) -> None:
        self.now = self.most = self.begun = 0

    async def stream(self, *items: object, turns: int = 1) -> AsyncGenerator[object, None]:
        self.now, self.begun = self.now + 1, self.begun + 1
        self.most = max(self.most, self.now)
        try:
            for item in items:
                for _ in range(turns):
                    await asyncio.sleep(0)
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.now -= 1


def test_items_come_in_the_order_of_their_streams_however_fast_these_are() -> None:
    async def story() -> None:
        run = Running()
        streams = [partial(run.stream, f"{name}1", f"{name}2", turns=9 - name) for name in range(8)]
        async with aclosing(in_order(streams, at_once=3)) as found:
            told = [each async for each in found]
        assert told == [(name, f"{name}{number}") for name in range(8) for number in (1, 2)]
        assert (run.most, run.now) == (3, 0)

    asyncio.run(story())


def test_an_error_comes_in_its_turn_and_closes_the_others() -> None:
    async def story() -> None:
        run = Running()
        streams = [partial(run.stream, "a", turns=20), partial(run.stream, ValueError("b")), partial(run.stream, "c")]
        told = []
        async with aclosing(in_order(streams, at_once=2)) as found:
            told.append(await anext(found))
            with pytest.raises(ValueError, match="b"):
                await anext(found)
        assert told == [(0, "a")]
        assert run.now == 0

    asyncio.run(story())


def test_one_at_a_time_is_no_faster_than_it_is_taken() -> None:
    async def story() -> None:
        run = Running()
        async with aclosing(in_order([partial(run.stream, 1, 2)] * 3, at_once=1)) as found:
            assert await anext(found) == (0, 1)
            await asyncio.sleep(0.01)
            assert run.begun == 1
        assert run.now == 0

    asyncio.run(story())


def test_who_leaves_closes_what_is_under_way_and_the_rest_never_begins() -> None:
    async def story() -> None:
        run = Running()
        async with aclosing(in_order([partial(run.stream, 1, 2, turns=50)] * 9, at_once=2)) as found:
            await anext(found)
        assert run.now == 0
        assert run.begun <= 3

    asyncio.run(story())
