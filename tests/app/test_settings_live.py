"""Settings that change while the program runs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from conductor.adapters.watched_files import file_changes
from conductor.app.settings.keys import catalogue, value_of
from conductor.app.settings.live import Change, LiveSettings, diff, in_effect
from conductor.app.settings.load import Loaded, load_settings
from conductor.app.settings.model import Settings
from conductor.app.settings.sources import Surroundings
from conductor.domain.errors import SettingsError
from conductor.domain.json import JsonValue

#: Those that take small numbers.
WHOLE = sorted(
    name
    for name, key in catalogue().items()
    if key.field.annotation is int and name not in ("mind.experiences", "serving.context_tokens")
)
CHOICES = st.dictionaries(st.sampled_from(WHOLE), st.integers(1, 3))


def around(home: Path) -> Surroundings:
    return Surroundings(environ={}, hostname="desk", home=home, working_dir=home, logical_cores=2, user_id=os.getuid())


def with_stored(values: Mapping[str, JsonValue]) -> Settings:
    return load_settings(around(Path("/nonexistent")), database=values).settings


class Heard:
    """Keeps what a listener was told."""

    def __init__(self) -> None:
        self.changes: list[tuple[Settings, list[Change]]] = []
        self.errors: list[str] = []
        self.something = anyio.Event()

    def change(self, settings: Settings, changes: Sequence[Change]) -> None:
        self.changes.append((settings, list(changes)))
        self.something.set()

    def error(self, mistake: SettingsError) -> None:
        self.errors.append(mistake.message)
        self.something.set()


def live(home: Path, heard: Heard) -> LiveSettings:
    def load(database: Mapping[str, JsonValue]) -> Loaded:
        return load_settings(around(home), database=database)

    return LiveSettings(
        load,
        {},
        file_changes=lambda paths: file_changes(paths, interval_s=0.1),
        on_change=heard.change,
        on_error=heard.error,
    )


@given(CHOICES, CHOICES)
@examples(max_examples=50, deadline=None)
def test_a_difference_lists_exactly_the_settings_that_differ(old: dict[str, int], new: dict[str, int]) -> None:
    before, after = with_stored(old), with_stored(new)
    changes = diff(before, after)
    assert {change.name: (change.old, change.new) for change in changes} == {
        name: (value_of(before, name), value_of(after, name))
        for name in catalogue()
        if value_of(before, name) != value_of(after, name)
    }
    assert diff(after, after) == []


@given(CHOICES, CHOICES)
@examples(max_examples=50, deadline=None)
def test_in_effect_are_the_wanted_values_but_for_those_that_need_a_restart(
    old: dict[str, int], new: dict[str, int]
) -> None:
    running, wanted = with_stored(old), with_stored(new)
    effective = in_effect(running, wanted)
    for name, key in catalogue().items():
        assert value_of(effective, name) == value_of(running if key.traits.restart else wanted, name)


def test_a_reload_applies_what_it_can_and_remembers_what_waits(tmp_path: Path) -> None:
    heard = Heard()
    settings = live(tmp_path, heard)
    settings.reload({"queue.depth": 5, "server.port": 9000})
    assert (settings.current.queue.depth, settings.current.server.port) == (5, 8000)
    assert settings.waiting == [Change(name="server.port", old=8000, new=9000, restart=True)]
    assert heard.changes[0][0] == settings.current
    settings.reload({})
    assert settings.waiting == []
    assert settings.reload() == []
    assert len(heard.changes) == 2  # the last reload changed nothing


def test_a_mistake_changes_nothing(tmp_path: Path) -> None:
    settings = live(tmp_path, Heard())
    settings.reload({"queue.depth": 5})
    with pytest.raises(SettingsError):
        settings.reload({"queue.depth": 0})
    assert settings.current.queue.depth == 5
    assert settings.reload() == []  # nor is the mistaken value remembered


@pytest.mark.anyio
async def test_a_file_is_followed_while_running_and_a_broken_one_is_reported(tmp_path: Path) -> None:
    heard = Heard()
    settings = live(tmp_path, heard)
    file = tmp_path / "conductor.yaml"
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(settings.watch)
            for text in ("queue: {depth: 7}\n", "queue: {dept: 77}\n", "queue: {depth: 777}\n"):
                heard.something = anyio.Event()
                (tmp_path / "new").write_text(text)
                (tmp_path / "new").chmod(0o600)
                (tmp_path / "new").replace(file)  # as editors do
                await heard.something.wait()
            group.cancel_scope.cancel()
    assert [changes[0].new for _, changes in heard.changes] == [7, 777]
    assert len(heard.errors) == 1
    assert "did you mean queue.depth" in heard.errors[0]
