"""Writes to a client that are joined on their way."""

import asyncio
from typing import Any

import pytest

from conductor.faces.http.one_write import _MOST_JOINED_BYTES, _Joining

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Recording:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str) -> str:
        return f"info on {name}"


def joining() -> tuple[Any, Recording]:
    transport = Recording()
    return _Joining(transport, asyncio.get_running_loop()), transport  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_head_and_body_leave_together_and_at_once() -> None:
    ours, transport = joining()

    ours.write(HEAD)
    ours.write(b"body")

    assert transport.writes == [HEAD + b"body"]
    await asyncio.sleep(0)
    assert transport.writes == [HEAD + b"body"]


@pytest.mark.anyio
async def test_a_head_alone_waits_no_longer_than_the_loop_goes_round() -> None:
    ours, transport = joining()

    ours.write(HEAD)
    assert transport.writes == []
    await asyncio.sleep(0)

    assert transport.writes == [HEAD]


@pytest.mark.anyio
async def test_what_is_large_is_not_joined() -> None:
    ours, transport = joining()
    large = b"x" * (_MOST_JOINED_BYTES + 1)

    ours.write(HEAD)
    ours.write(large)

    assert transport.writes == [HEAD, large]


@pytest.mark.anyio
async def test_the_parts_of_a_body_leave_one_by_one_and_at_once() -> None:
    ours, transport = joining()

    ours.write(HEAD)
    for part in (b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
        ours.write(part)

    assert transport.writes == [HEAD + b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"]


@pytest.mark.anyio
async def test_a_second_answer_follows_the_first() -> None:
    ours, transport = joining()

    ours.write(HEAD)
    ours.write(b"body" + HEAD)
    ours.write(HEAD)
    ours.write(b"")

    assert transport.writes == [HEAD + b"body" + HEAD, HEAD]


@pytest.mark.anyio
async def test_what_is_held_leaves_before_the_end() -> None:
    ours, transport = joining()

    ours.write(HEAD)
    ours.close()
    await asyncio.sleep(0)

    assert (transport.writes, transport.closed) == ([HEAD], True)


@pytest.mark.anyio
async def test_nothing_is_written_to_a_client_that_left_meanwhile() -> None:
    ours, transport = joining()

    ours.write(HEAD)
    transport.closed = True
    await asyncio.sleep(0)

    assert transport.writes == []
    assert ours.get_extra_info("peername") == "info on peername"
