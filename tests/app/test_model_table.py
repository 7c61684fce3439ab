"""SETTINGS.md of a running installation: saved, spoiled, removed and rolled back."""

import os
from pathlib import Path

import anyio
import pytest

from conductor.adapters.settings_page import SettingsPage
from conductor.adapters.watched_files import file_changes
from conductor.app.installation import Installation
from conductor.app.serving.model_table import LiveModelTable, check, look, roll_back, settings_page
from conductor.domain.errors import NotFound, SettingsError, StorageError
from conductor.serving.settings_md.compare import Changes
from conductor.serving.settings_md.table import ModelTable

PAGE = """\
## Conversational Persona
Be kind.

| Category | Model | Memory | Model ID | Stay Loaded | Precision |
|---|---|---|---|---|---|
| Conversational Chat | Tiny | 2 GB | a/tiny | true | FP16 |
"""
OTHER = PAGE.replace("a/tiny", "a/other")
SPOILED = PAGE.replace("FP16", "FP61")


class StandingClock:
    """Implements `domain.clock.Clock`; every look is a minute later."""

    def __init__(self) -> None:
        self._now_unix_s = 1_790_000_000.0

    def now_unix_s(self) -> float:
        self._now_unix_s += 60
        return self._now_unix_s

    def monotonic_s(self) -> float:
        return self._now_unix_s


@pytest.fixture
def page(tmp_path: Path) -> SettingsPage:
    return SettingsPage(tmp_path / "SETTINGS.md", tmp_path / "settings-md")


async def opened(page: SettingsPage) -> LiveModelTable:
    return await LiveModelTable.open(
        page, known=(), clock=StandingClock(), file_changes=lambda paths: file_changes(paths, interval_s=0.05)
    )


def names(table: ModelTable) -> list[str]:
    return [row.name for row in table.rows]


@pytest.mark.anyio
async def test_without_a_page_nothing_is_served_and_nothing_is_wrong(page: SettingsPage) -> None:
    live = await opened(page)

    assert (live.table, live.standing.exists, live.standing.problem) == (ModelTable(), False, None)
    assert page.kept() == []


@pytest.mark.anyio
async def test_a_saved_page_comes_into_force_and_whoever_cares_hears_what_changed(page: SettingsPage) -> None:
    page.path.write_text(PAGE)
    live = await opened(page)
    heard: list[tuple[ModelTable, Changes]] = []
    live.on_change(lambda table, changes: heard.append((table, changes)))
    page.path.write_text(OTHER)

    changes = await live.reload()

    assert changes.lines() == [
        "~ conversational_chat: a/tiny → a/other",
        "unload a/tiny (FP16)",
        "load a/other (FP16), about 2 GB",
    ]
    assert heard == [(live.table, changes)]
    assert live.digest == live.table.digest
    assert [kept.digest for kept in page.kept()][-1] == live.digest
    assert not await live.reload()
    assert len(heard) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "content", [SPOILED.encode(), b"", b"\xff\xfe", PAGE.encode() + b"\0", b"x" * (1024**2 + 1)], ids=range(5)
)
async def test_a_page_that_cannot_be_used_leaves_the_last_valid_one_in_force(
    page: SettingsPage, content: bytes
) -> None:
    page.path.write_text(PAGE)
    live = await opened(page)
    before = live.table
    page.path.write_bytes(content)

    assert not await live.reload()

    assert live.table == before
    assert isinstance(live.standing.problem, SettingsError)
    again = await opened(page)
    assert again.table == before
    assert isinstance(again.standing.problem, SettingsError)
    page.path.write_text(PAGE)
    await live.reload()
    assert live.standing.problem is None


@pytest.mark.anyio
async def test_a_page_that_is_removed_stays_in_force_until_the_next_start(page: SettingsPage) -> None:
    page.path.write_text(PAGE)
    live = await opened(page)
    page.path.unlink()

    assert not await live.reload()

    assert names(live.table) == ["a/tiny"]
    assert live.standing.problem is not None
    assert "is gone" in live.standing.problem.message
    assert (await opened(page)).table == ModelTable()


@pytest.mark.anyio
async def test_saving_is_noticed_however_an_editor_does_it(page: SettingsPage, tmp_path: Path) -> None:
    live = await opened(page)
    heard: list[list[str]] = []
    something = anyio.Event()

    def hear(table: ModelTable, _: Changes) -> None:
        nonlocal something
        heard.append(names(table))
        something.set()
        something = anyio.Event()

    live.on_change(hear)
    async with anyio.create_task_group() as group:
        group.start_soon(live.watch)
        with anyio.fail_after(30):
            for content in (PAGE, OTHER):
                expected = something
                (tmp_path / "draft").write_text(content)
                (tmp_path / "draft").rename(page.path)
                await expected.wait()
            group.cancel_scope.cancel()

    assert heard == [["a/tiny"], ["a/other"]]


@pytest.mark.anyio
async def test_a_roll_back_goes_to_the_last_other_page_and_back_again(page: SettingsPage) -> None:
    page.path.write_text(PAGE)
    live = await opened(page)
    page.path.write_text(OTHER)
    await live.reload()

    done = await live.roll_back()

    assert page.path.read_text() == PAGE
    assert names(live.table) == ["a/tiny"]
    assert done.changes.lines()[0] == "~ conversational_chat: a/other → a/tiny"
    assert done.replaced is None
    await live.roll_back()
    assert names(live.table) == ["a/other"]
    assert [kept.number for kept in page.kept()] == [1, 2, 3, 4]
    await live.roll_back(1)
    assert names(live.table) == ["a/tiny"]


@pytest.mark.anyio
async def test_a_roll_back_of_a_spoiled_page_restores_what_is_in_force_and_loses_nothing(page: SettingsPage) -> None:
    page.path.write_text(PAGE)
    live = await opened(page)
    page.path.write_text(SPOILED)
    await live.reload()

    done = await live.roll_back()

    assert page.path.read_text() == PAGE
    assert live.standing.problem is None
    assert done.replaced is not None
    assert done.replaced.read_text() == SPOILED


def test_a_valid_page_that_was_never_in_force_is_set_aside_too(page: SettingsPage) -> None:
    page.keep(PAGE.encode(), look(_with(page, PAGE), ()).digest, at_unix_s=0.0)
    page.path.write_text(OTHER)

    done = roll_back(page, at_unix_s=60.0)

    assert done.replaced is not None
    assert done.replaced.read_text() == OTHER
    assert page.path.read_text() == PAGE


def test_without_an_earlier_page_there_is_nothing_to_go_back_to(page: SettingsPage) -> None:
    with pytest.raises(NotFound, match=r"no earlier SETTINGS\.md to go back to"):
        roll_back(_with(page, SPOILED), at_unix_s=0.0)
    with pytest.raises(NotFound, match=r"no earlier SETTINGS\.md 7"):
        roll_back(page, 7, at_unix_s=0.0)
    assert page.path.read_text() == SPOILED


def test_a_damaged_earlier_page_is_passed_over(page: SettingsPage) -> None:
    page.keep(PAGE.encode(), look(_with(page, PAGE), ()).digest, at_unix_s=0.0)
    page.keep(b"damaged", "0" * 64, at_unix_s=60.0)

    assert names(look(_with(page, SPOILED), ()).table) == ["a/tiny"]


def test_a_check_tells_what_would_change_and_changes_nothing(page: SettingsPage) -> None:
    page.keep(PAGE.encode(), look(_with(page, PAGE), ()).digest, at_unix_s=0.0)

    elsewhere = check(page, OTHER.encode(), ["translation"], is_in_place=False)[1]
    in_place = check(_with(page, OTHER), OTHER.encode(), (), is_in_place=True)[1]

    assert elsewhere.lines() == in_place.lines() != []
    assert len(page.kept()) == 1


def test_a_page_that_cannot_be_read_is_told_as_such(page: SettingsPage) -> None:
    page.path.mkdir()

    assert isinstance(look(page, ()).problem, StorageError)


def test_a_pipe_in_place_of_the_page_does_not_hold_us_up(page: SettingsPage) -> None:
    os.mkfifo(page.path)

    assert "no regular file" in str(look(page, ()).problem)


def test_a_link_stays_a_link_and_permissions_stay(page: SettingsPage, tmp_path: Path) -> None:
    real = tmp_path / "repository.md"
    real.write_text(OTHER)
    real.chmod(0o640)
    page.path.symlink_to(real)
    page.keep(PAGE.encode(), "0" * 64, at_unix_s=0.0)

    roll_back(page, 1, at_unix_s=60.0)

    assert page.path.is_symlink()
    assert real.read_text() == PAGE
    assert real.stat().st_mode & 0o777 == 0o640


def test_the_newest_hundred_pages_are_kept(page: SettingsPage) -> None:
    for number in range(103):
        page.keep(str(number).encode(), f"{number:064x}", at_unix_s=60.0 * number)

    assert [kept.number for kept in page.kept()] == list(range(4, 104))
    assert page.kept()[-1].at_unix_s == 6120.0
    assert page.read_kept(50) == b"49"


def test_the_place_of_the_page_is_a_setting(tmp_path: Path) -> None:
    here = Installation.find(data_dir=tmp_path, environ={})
    there = Installation.find(data_dir=tmp_path, environ={"CONDUCTOR_SERVING__SETTINGS_MD": "/etc/conductor/models.md"})

    assert settings_page(here).path == tmp_path / "SETTINGS.md"
    assert settings_page(there).path == Path("/etc/conductor/models.md")


def _with(page: SettingsPage, content: str) -> SettingsPage:
    page.path.write_text(content)
    return page
