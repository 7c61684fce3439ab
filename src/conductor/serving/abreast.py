"""Run several streams at once and hand their items on in order: the second's from when the first has ended.

What comes early waits here, unbounded: for streams that are short, such as the answers of one batch. An error comes in
its stream's turn. Closing the whole closes all of them.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")
Begin = Callable[[], AsyncGenerator[T, None]]


async def in_order(streams: Sequence[Begin[T]], *, at_once: int) -> AsyncGenerator[tuple[int, T], None]:
    """Each item with the place of its stream; at most so many streams are begun and not ended.

    One at a time is not begun before its items are wanted, and is no faster than they are taken.
    """
    if min(at_once, len(streams)) <= 1:
        for place, begin in enumerate(streams):
            async with aclosing(begin()) as items:
                async for item in items:
                    yield place, item
        return
    gate = asyncio.Semaphore(at_once)
    queues: list[asyncio.Queue[tuple[int, T] | None]] = [asyncio.Queue() for _ in streams]

    async def run(place: int, begin: Begin[T]) -> None:
        try:
            async with gate, aclosing(begin()) as items:
                async for item in items:
                    queues[place].put_nowait((place, item))
        finally:
            queues[place].put_nowait(None)

    tasks = [asyncio.create_task(run(place, begin)) for place, begin in enumerate(streams)]
    try:
        for task, queue in zip(tasks, queues, strict=True):
            while (told := await queue.get()) is not None:
                yield told
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
