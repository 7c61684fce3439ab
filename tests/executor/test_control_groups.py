"""Both versions of control groups over a tree of plain files, and the real one where this machine has it."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from conductor.adapters.local_processes.control_groups import ControlGroups, GroupUsage
from conductor.domain.units import MIB
from conductor.domain.workload import Limits

LIMITS = Limits(memory_bytes=64 * MIB, processes=12)


def a_v1_tree(top: Path) -> Path:
    for folder in ("memory/own", "pids", "cpuacct"):
        (top / folder).mkdir(parents=True)
    (top / "self").mkdir()
    (top / "self" / "cgroup").write_text("4:memory:/own\n3:pids:/not/mounted/here\n2:cpuacct:/\n0::/\n")
    return top


def a_v2_tree(top: Path, *, controllers: str = "cpu memory pids") -> Path:
    (top / "own").mkdir(parents=True)
    for folder in (top, top / "own"):
        (folder / "cgroup.controllers").write_text(controllers)
        (folder / "cgroup.procs").write_text("1\n")
    (top / "self").mkdir()
    (top / "self" / "cgroup").write_text("0::/own\n")
    return top


def test_version_1_bounds_are_written_below_the_servers_own_group(tmp_path: Path) -> None:
    groups = ControlGroups(a_v1_tree(tmp_path), process_folder=tmp_path / "self")
    group = groups.task("t")
    group.make(LIMITS)

    (folder,) = (tmp_path / "memory" / "own").glob("conductor-*/t")
    assert (folder / "memory.limit_in_bytes").read_text() == str(64 * MIB)
    assert [file.read_text() for file in (tmp_path / "pids").glob("conductor-*/t/pids.max")] == ["12"]
    assert {Path(entry).name for entry in group.entries} == {"tasks"}
    assert len(group.entries) == 3


def test_version_2_hands_controllers_down_and_writes_all_bounds_into_one_folder(tmp_path: Path) -> None:
    groups = ControlGroups(a_v2_tree(tmp_path), process_folder=tmp_path / "self")
    group = groups.task("t")
    group.make(LIMITS)

    (folder,) = (tmp_path / "own").glob("conductor-*/t")
    assert groups.controllers == {"memory", "pids", "cpu"}
    assert ((folder / "memory.max").read_text(), (folder / "pids.max").read_text()) == (str(64 * MIB), "12")
    assert group.entries == [str(folder / "cgroup.procs")]


def test_version_2_counters_are_read(tmp_path: Path) -> None:
    group = ControlGroups(a_v2_tree(tmp_path), process_folder=tmp_path / "self").task("t")
    group.make(LIMITS)
    (folder,) = (tmp_path / "own").glob("conductor-*/t")
    (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (folder / "memory.stat").write_text("anon 1000\nfile 5000\nshmem 24\n")
    (folder / "memory.peak").write_text("9000\n")
    (folder / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    (folder / "pids.events").write_text("max 3\n")

    assert group.usage() == GroupUsage(cpu_time_s=1.5, held_bytes=1024, peak_bytes=9000, kills=1, refused_forks=3)


def test_no_controller_means_no_groups(tmp_path: Path) -> None:
    groups = ControlGroups(a_v2_tree(tmp_path, controllers=""), process_folder=tmp_path / "self")

    assert groups.controllers == frozenset()
    assert groups.task("t").entries == []
    assert groups.task("t").usage() == GroupUsage()


def test_groups_of_dead_servers_are_taken_away_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    tree = a_v1_tree(tmp_path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = tree / "memory" / "elsewhere" / f"conductor-{ended.pid}-12345"
    (dead / "task").mkdir(parents=True)
    parent = os.getppid()
    began = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    alive = tree / "memory" / f"conductor-{parent}-{began}"
    alive.mkdir()

    ControlGroups(tree, process_folder=tree / "self")

    assert not dead.exists()
    assert alive.exists()


def test_the_end_of_one_server_leaves_the_groups_of_another_in_the_same_program(tmp_path: Path) -> None:
    tree = a_v1_tree(tmp_path)
    one, other = (ControlGroups(tree, process_folder=tree / "self") for _ in range(2))

    one.close()

    other.task("t").make(LIMITS)


@pytest.mark.anyio
async def test_a_real_group_is_made_entered_killed_and_removed(groups: ControlGroups) -> None:
    if "memory" not in groups.controllers:
        pytest.skip("control groups are not writable on this machine")
    group = groups.task("real")
    group.make(LIMITS)
    script = "for entry in $ENTRIES; do echo 0 > $entry; done; echo in; exec sleep 60"
    inside = subprocess.Popen(
        ["sh", "-c", script], env={**os.environ, "ENTRIES": " ".join(group.entries)}, stdout=subprocess.PIPE
    )
    assert inside.stdout is not None
    assert inside.stdout.readline() == b"in\n"

    assert group.kill()
    await asyncio.to_thread(inside.wait)
    inside.stdout.close()
    await group.remove()

    assert inside.returncode == -9
    assert not any(Path(entry).parent.exists() for entry in group.entries)
