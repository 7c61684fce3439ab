"""Where settings come from, which source wins, and what is said about mistakes."""

import os
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.app.settings.keys import catalogue, describe, value_of
from conductor.app.settings.load import Loaded, database_url, load_settings, storable
from conductor.app.settings.sources import Source, Surroundings
from conductor.domain.errors import SettingsError
from conductor.domain.workload import Limits
from conductor.scheduling.queue import QueueRules
from conductor.scheduling.retry import RetryPolicy

WHOLE = sorted(name for name, key in catalogue().items() if key.field.annotation is int)
STRENGTH = [Source.YAML, Source.ENVIRONMENT, Source.DATABASE, Source.ARGUMENT]


def surroundings(home: Path, hostname: str = "desk", **environ: str) -> Surroundings:
    return Surroundings(
        environ=environ, hostname=hostname, home=home, working_dir=home, logical_cores=3, user_id=os.getuid()
    )


def nested(values: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[last] = value
    return tree


def write(home: Path, text: str) -> Path:
    file = home / "conductor.yaml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def load_yaml(home: Path, text: str, **kwargs: Any) -> Loaded:
    write(home, text)
    return load_settings(surroundings(home, **kwargs))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


@given(st.dictionaries(st.sampled_from(WHOLE), st.sets(st.sampled_from(STRENGTH)), max_size=6))
@settings(max_examples=60, deadline=None)
def test_for_any_subset_of_sources_the_strongest_wins_and_is_named(folder: Path, said: dict[str, set[Source]]) -> None:
    values = {source: 10 + position for position, source in enumerate(STRENGTH)}  # within the bounds of every count
    large = {name: 128 if name in ("mind.experiences", "serving.context_tokens") else 0 for name in WHOLE}
    by_source = {
        source: {name: values[source] + large[name] for name, sources in said.items() if source in sources}
        for source in STRENGTH
    }
    write(folder, yaml.safe_dump(nested(by_source[Source.YAML])))
    environ = {catalogue()[name].variable: str(value) for name, value in by_source[Source.ENVIRONMENT].items()}
    loaded = load_settings(
        surroundings(folder, **environ), database=by_source[Source.DATABASE], arguments=by_source[Source.ARGUMENT]
    )
    plain = load_settings(surroundings(folder / "empty"))
    for name in catalogue():
        strongest = max(said.get(name, ()), key=STRENGTH.index, default=Source.DEFAULT)
        assert loaded.origins[name].source is strongest
        if strongest is not Source.DEFAULT:
            assert value_of(loaded.settings, name) == by_source[strongest][name]
        elif name != "data_dir":
            assert value_of(loaded.settings, name) == value_of(plain.settings, name)


@given(st.sampled_from(sorted(catalogue())), st.data())
@settings(max_examples=80, deadline=None)
def test_a_misspelt_name_is_refused_in_every_source_with_the_right_one(
    folder: Path, name: str, data: st.DataObject
) -> None:
    section, dot, last = name.rpartition(".")
    at = data.draw(st.integers(0, len(last) - 1))
    wrong = section + dot + last[:at] + data.draw(st.sampled_from(string.ascii_lowercase)) + last[at:]
    if wrong in catalogue():
        return
    variable = "CONDUCTOR_" + wrong.upper().replace(".", "__")
    write(folder, yaml.safe_dump(nested({wrong: 1})))
    attempts: list[tuple[Callable[[], object], str, str]] = [
        (lambda: load_settings(surroundings(folder)), name, "conductor.yaml:"),
        (lambda: load_settings(surroundings(folder / "x", **{variable: "1"})), catalogue()[name].variable, variable),
        (lambda: load_settings(surroundings(folder / "x"), database={wrong: 1}), name, "settings table"),
        (lambda: load_settings(surroundings(folder / "x"), arguments={wrong: 1}), name, "command line"),
    ]
    for attempt, meant, place in attempts:
        with pytest.raises(SettingsError) as refused:
            attempt()
        assert refused.value.details["nearest"] == meant
        assert f"did you mean {meant}?" in refused.value.message
        assert place in refused.value.message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("queue:\n  depth: many\n", ["queue.depth", "'many'", "conductor.yaml:2", "a whole number, ≥ 1"]),
        ("queue:\n  depth: yes\n", ["queue.depth", "True", "a whole number"]),
        ("queue:\n  depth: 0\n", ["queue.depth", "≥ 1"]),
        ("queue: 5\n", ["queue", ":1", "names and values"]),
        ("- queue\n", ["the file", ":1", "names and values"]),
        ("depth: 5\n", ["depth", "did you mean queue.depth?"]),
        ("queue:\n  depth: 1\n  depth: 2\n", ["depth stands twice", "lines 2 and 3"]),
        ("queue:\n  depth: [1\n", ["no valid YAML", ":3"]),
        ("queue:\n  depth: !!python/object/apply:os.getpid []\n", ["no valid YAML", ":2"]),
        ("limits:\n  cpu_time_s: .inf\n", ["limits.cpu_time_s", "seconds, or a duration"]),
        ("limits:\n  memory_bytes: lots\n", ["limits.memory_bytes", "a size such as 512M"]),
        ("server:\n  port: 70000\n", ["server.port", "≤ 65535"]),
        ("log:\n  level: loud\n", ["log.level", "debug, info, warning or error"]),
        ("node:\n  name: 7\n", ["node.name", "text"]),
        ("profiles:\n  'other-*':\n    queue: {depth: many}\n", ["queue.depth", ":3, profile other-*"]),
        ("profiles:\n  'other-*':\n    quue: {depth: 1}\n", ["quue", "profile other-*"]),
        ("retry:\n  max_delay_s: 0.5\n", ["retry.max_delay_s (0.5) is less than retry.first_delay_s", ":2"]),
        ("server:\n  host: 0.0.0.0\n  require_key: no\n", ["require_key is off", "server.host", ":2", ":3"]),
        ("\0", ["no valid YAML"]),
    ],
)
def test_a_mistake_in_a_file_is_told_with_key_line_value_and_form(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        load_yaml(tmp_path, text)
    for part in parts:
        assert part in refused.value.message


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(surroundings(tmp_path))


def test_profiles_that_fit_the_host_win_over_the_common_part_in_file_order(tmp_path: Path) -> None:
    text = """
profiles:
  "gpu-*": {queue: {depth: 2}, retry: {factor: 3}}
  "GPU-1": {queue: {depth: 3}}
  "other": {queue: {depth: 4}}
queue: {depth: 1, aging_turn: 5}
"""
    loaded = load_yaml(tmp_path, text, hostname="gpu-1.lan")
    assert (loaded.settings.queue.depth, loaded.settings.queue.aging_turn, loaded.settings.retry.factor) == (3, 5, 3)
    assert loaded.origins["queue.depth"].place.endswith(":4, profile GPU-1")
    assert load_yaml(tmp_path, text, hostname="desk").settings.queue.depth == 1


def test_empty_files_and_empty_sections_change_nothing(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "queue:\n", "profiles:\n", "profiles:\n  desk:\n"):
        assert {origin.source for origin in load_yaml(tmp_path, text).origins.values()} == {Source.DEFAULT}


def test_the_file_of_the_working_directory_wins_over_that_of_the_user(tmp_path: Path) -> None:
    config = tmp_path / "config" / "conductor"
    config.mkdir(parents=True)
    (config / "conductor.yaml").write_text("queue: {depth: 1, aging_turn: 3}")
    write(tmp_path, "queue: {depth: 2}")
    loaded = load_settings(surroundings(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config")))
    assert (loaded.settings.queue.depth, loaded.settings.queue.aging_turn) == (2, 3)


def test_a_chosen_file_is_the_only_one_and_must_exist(tmp_path: Path) -> None:
    write(tmp_path, "queue: {depth: 2}")
    (tmp_path / "mine.yaml").write_text("queue: {aging_turn: 3}")
    loaded = load_settings(surroundings(tmp_path, CONDUCTOR_CONFIG="mine.yaml"))
    assert (loaded.settings.queue.depth, loaded.settings.queue.aging_turn) == (1000, 3)
    with pytest.raises(SettingsError, match="there is no file"):
        load_settings(surroundings(tmp_path), config=tmp_path / "absent.yaml")


def test_a_file_found_in_the_working_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "queue: {depth: 2}")
    file.chmod(0o666)
    with pytest.raises(SettingsError, match="can be changed by others"):
        load_settings(surroundings(tmp_path))
    assert load_settings(surroundings(tmp_path), config=file).settings.queue.depth == 2


def test_units_lists_and_paths_are_read_as_people_write_them(tmp_path: Path) -> None:
    loaded = load_yaml(
        tmp_path,
        "limits: {memory_bytes: 2GiB, wall_time_s: 5min}\nledger: {key_file: keys/k}\nserver: {allowed_hosts: [a, b]}",
        CONDUCTOR_SERVER__ALLOWED_ORIGINS="https://a.example, https://b.example",
        CONDUCTOR_DATA_DIR="~/data",
        CONDUCTOR_LIMITS__NETWORK="true",
        CONDUCTOR_QUEUE__DEPTH="",
        CONDUCTOR_TASK_DIR="/not/a/setting",
    ).settings
    assert (loaded.limits.memory_bytes, loaded.limits.wall_time_s, loaded.limits.network) == (2 * 1024**3, 300.0, True)
    assert loaded.ledger.key_file == tmp_path / "keys" / "k"
    assert loaded.server.allowed_hosts == ("a", "b")
    assert loaded.server.allowed_origins == ("https://a.example", "https://b.example")
    assert loaded.data_dir == tmp_path / "data"


def test_what_kubernetes_puts_into_the_environment_is_not_taken_for_settings(tmp_path: Path) -> None:
    links = {
        "CONDUCTOR_SERVICE_HOST": "10.0.0.1",
        "CONDUCTOR_SERVICE_PORT_HTTP": "80",
        "CONDUCTOR_PORT": "tcp://10.0.0.1:80",
        "CONDUCTOR_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings(surroundings(tmp_path, **links)).settings.server.port == 8000
    with pytest.raises(SettingsError, match="did you mean CONDUCTOR_SERVER__PORT"):
        load_settings(surroundings(tmp_path, CONDUCTOR_PORT="9000"))


def test_without_any_source_the_machine_and_the_rooms_give_the_defaults(tmp_path: Path) -> None:
    plain = load_settings(surroundings(tmp_path)).settings
    assert plain.data_dir == tmp_path / ".local" / "share" / "conductor"
    assert database_url(plain) == f"sqlite:///{plain.data_dir}/conductor.db"
    assert (plain.node.name, plain.executor.workers) == ("desk", 3)
    assert Limits(**plain.limits.model_dump()) == Limits()
    assert RetryPolicy(**plain.retry.model_dump()) == RetryPolicy()
    rules = QueueRules()
    assert (plain.queue.depth, plain.queue.aging_s, plain.queue.aging_turn) == (
        rules.depth,
        rules.aging_s,
        rules.aging_turn,
    )
    assert {level.name.lower(): weight for level, weight in rules.weights.items()} == plain.queue.weights.model_dump()


def test_a_relative_xdg_folder_is_ignored_as_its_specification_says(tmp_path: Path) -> None:
    plain = load_settings(surroundings(tmp_path, XDG_DATA_HOME="relative")).settings
    assert plain.data_dir == tmp_path / ".local" / "share" / "conductor"


def test_the_password_of_the_database_is_shown_nowhere(tmp_path: Path) -> None:
    url = "postgresql://user:hunter2@host/name?sslpassword=hunter2"
    loaded = load_settings(surroundings(tmp_path, CONDUCTOR_DATABASE_URL=url))
    assert database_url(loaded.settings) == url
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in str(loaded.table())
    assert loaded.origins["database_url"].shown == "postgresql://user:****@host/name?sslpassword=****"
    with pytest.raises(SettingsError) as refused:
        load_settings(surroundings(tmp_path), arguments={"database_url": ["hunter2"]})
    assert "hunter2" not in refused.value.message


def test_what_leads_to_the_database_cannot_be_stored_in_it(tmp_path: Path) -> None:
    for name in ("data_dir", "database_url"):
        with pytest.raises(SettingsError, match="is found by it"):
            load_settings(surroundings(tmp_path), database={name: "/x"})


def test_a_value_is_stored_in_its_plain_form(tmp_path: Path) -> None:
    here = surroundings(tmp_path)
    assert storable("limits.memory_bytes", "1GiB", here) == 1024**3
    assert storable("server.allowed_hosts", "a,b", here) == ["a", "b"]
    with pytest.raises(SettingsError, match=r"did you mean queue\.depth"):
        storable("queue.dept", 1, here)


def test_every_setting_describes_itself(tmp_path: Path) -> None:
    for row in describe():
        assert row["description"], row
        assert row["form"] != "a value", row
        assert row["default"] is not None or row["default_text"], row
    names = [row["name"] for row in load_settings(surroundings(tmp_path)).table()]
    assert names == [row["name"] for row in describe()]
