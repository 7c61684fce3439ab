"""Changes of files are noticed however they come about."""

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from conductor.adapters.watched_files import file_changes

pytestmark = pytest.mark.anyio


async def changes_after(paths: list[Path], change: Callable[[], object]) -> int:
    """How many changes are told within a second of one; at least one is waited for."""
    told = 0
    with anyio.fail_after(20):
        async with aclosing(file_changes(paths, interval_s=0.1)) as changes:
            await anext(changes)
            change()
            await anext(changes)
            told += 1
            with anyio.move_on_after(0.4):
                await anext(changes)
                told += 1
    return told


async def test_a_file_that_appears_changes_or_goes_is_noticed_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    assert await changes_after([file], lambda: file.write_text("a")) == 1
    assert await changes_after([file], lambda: file.write_text("longer")) == 1
    assert await changes_after([file], file.unlink) == 1


async def test_a_file_in_a_folder_that_does_not_exist_yet_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "later" / "a.yaml"

    def appear() -> None:
        whole = tmp_path / "whole"
        whole.mkdir()
        (whole / "a.yaml").write_text("a")
        whole.rename(file.parent)

    assert await changes_after([file], appear) == 1


async def test_a_link_that_is_turned_to_another_file_is_noticed(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(name)
    (tmp_path / "now").symlink_to("old")
    (tmp_path / "a.yaml").symlink_to("now/a.yaml")

    def turn() -> None:
        (tmp_path / "next").symlink_to("new")
        (tmp_path / "next").rename(tmp_path / "now")

    assert await changes_after([tmp_path / "a.yaml"], turn) == 1


async def test_neighbours_are_not_noticed(tmp_path: Path) -> None:
    async with aclosing(file_changes([tmp_path / "a.yaml"], interval_s=0.1)) as changes:
        await anext(changes)
        (tmp_path / "b.yaml").write_text("b")
        with anyio.move_on_after(0.5) as waited:
            await anext(changes)
    assert waited.cancelled_caught
