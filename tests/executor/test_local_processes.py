"""Every promise about a confined process, kept by each means of confinement this machine allows."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import anyio
import psutil
import pytest

from conductor.adapters.local_processes.processes import LocalProcesses, ProcessEnding
from conductor.domain.event import TaskOutput
from conductor.domain.outcome import Ending
from conductor.domain.task import TaskId
from conductor.domain.units import MIB
from conductor.domain.workload import Limits
from conductor.fleet.ports import MachineFacts

from .conftest import MakeProcesses

pytestmark = pytest.mark.anyio

TASK = TaskId("task-1")


async def run(
    processes: LocalProcesses, *argv: str, limits: Limits | None = None, heard: list[TaskOutput] | None = None
) -> ProcessEnding:
    listen = (heard if heard is not None else []).append
    return await processes.run(list(argv), task_id=TASK, limits=limits or Limits(wall_time_s=20), emit=listen)


async def shell(processes: LocalProcesses, script: str, limits: Limits | None = None) -> ProcessEnding:
    return await run(processes, "sh", "-c", script, limits=limits)


async def python(processes: LocalProcesses, script: str, limits: Limits | None = None) -> ProcessEnding:
    return await run(processes, sys.executable, "-I", "-S", "-c", textwrap.dedent(script), limits=limits)


@pytest.fixture
def nap() -> str:
    """Seconds to sleep for that no other process on this machine sleeps for: they mark the processes of one test."""
    return f"60.{uuid.uuid4().int % 10**12:012}"


def running(marker: str) -> list[psutil.Process]:
    """Processes that are `sleep MARKER`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == ["sleep", marker] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def until_gone(marker: str) -> bool:
    with anyio.move_on_after(10):
        while running(marker):
            await anyio.sleep(0.05)
    return not running(marker)


async def test_a_command_that_ends_well_is_measured(processes: LocalProcesses) -> None:
    outcome = (await shell(processes, "echo out; echo err >&2")).outcome

    assert outcome.ending is Ending.SUCCEEDED, outcome
    assert (outcome.exit_code, outcome.stdout_tail, outcome.stderr_tail) == (0, "out\n", "err\n")
    assert (outcome.output_bytes, outcome.node_id) == (8, "here")
    assert 0 < outcome.duration_s < 20
    assert outcome.peak_memory_bytes > 0


async def test_what_it_prints_is_streamed_and_kept_in_files(processes: LocalProcesses) -> None:
    heard: list[TaskOutput] = []

    await run(processes, "sh", "-c", "echo one; echo two >&2", heard=heard)

    assert "".join(piece.text for piece in heard if piece.stream == "stdout") == "one\n"
    assert (processes.folder(TASK) / "stdout").read_text() == "one\n"
    assert (processes.folder(TASK) / "stderr").read_text() == "two\n"
    assert processes.folder(TASK).stat().st_mode & 0o777 == 0o700


async def test_output_arrives_while_the_task_still_runs(processes: LocalProcesses) -> None:
    first = asyncio.Event()
    work = asyncio.create_task(
        processes.run(
            ["sh", "-c", "echo ready; exec sleep 60"],
            task_id=TASK,
            limits=Limits(wall_time_s=90),
            emit=lambda piece: first.set(),
        )
    )

    await asyncio.wait_for(first.wait(), 10)

    assert not work.done()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_a_character_cut_between_two_reads_stays_whole(processes: LocalProcesses) -> None:
    heard: list[TaskOutput] = []
    script = "import os, time\nos.write(1, b'\\xe2\\x82')\ntime.sleep(0.2)\nos.write(1, b'\\xac\\xff')"

    await run(processes, sys.executable, "-I", "-S", "-c", script, heard=heard)

    assert "".join(piece.text for piece in heard) == "€\ufffd"


@pytest.mark.parametrize(
    ("script", "ending", "code", "number", "said"),
    [
        ("exit 3", Ending.EXIT_CODE, 3, None, "exit code 3"),
        ("kill -SEGV $$", Ending.SIGNAL, None, signal.SIGSEGV, "SIGSEGV"),
        ("kill -KILL $$", Ending.SIGNAL, None, signal.SIGKILL, "SIGKILL"),
    ],
)
async def test_exit_codes_and_signals_are_told_apart(
    processes: LocalProcesses, script: str, ending: Ending, code: int | None, number: int | None, said: str
) -> None:
    outcome = (await shell(processes, script)).outcome

    assert (outcome.ending, outcome.exit_code, outcome.signal) == (ending, code, number)
    assert said in outcome.message


async def test_eating_memory_ends_as_out_of_memory(processes: LocalProcesses) -> None:
    eat = "held = []\nwhile True: held.append(b'x' * 4_000_000)"

    outcome = (await python(processes, eat, Limits(memory_bytes=96 * MIB, wall_time_s=30))).outcome

    assert outcome.ending is Ending.OUT_OF_MEMORY, outcome
    assert "96.0 MiB" in outcome.message
    assert 32 * MIB < outcome.peak_memory_bytes <= 100 * MIB


async def test_memory_is_bounded_over_all_processes_together(processes: LocalProcesses) -> None:
    """Six children of 30 MiB each: none passes the bound of 100 MiB alone."""
    fork = """
        import os, time
        for _ in range(6):
            if os.fork() == 0:
                held = os.urandom(30 * 1024 * 1024)
                time.sleep(30)
                os._exit(0)
        for _ in range(6):
            if os.waitstatus_to_exitcode(os.wait()[1]): os._exit(9)
    """

    outcome = (await python(processes, fork, Limits(memory_bytes=100 * MIB, wall_time_s=25))).outcome

    assert outcome.ending is Ending.OUT_OF_MEMORY, outcome


async def test_a_task_that_ignores_sigterm_is_gone_after_its_wall_time(processes: LocalProcesses, nap: str) -> None:
    script = f"trap '' TERM; sleep {nap} & wait; sleep {nap}"

    outcome = (await shell(processes, script, Limits(wall_time_s=0.5))).outcome

    assert outcome.ending is Ending.WALL_TIME
    assert "limits.wall_time_s" in outcome.message
    assert 0.5 <= outcome.duration_s < 15
    assert not running(nap)


async def test_a_task_may_tidy_up_when_its_wall_time_is_over(processes: LocalProcesses) -> None:
    script = "trap 'echo tidy; exit 0' TERM; sleep 60 & wait"

    outcome = (await shell(processes, script, Limits(wall_time_s=0.7))).outcome

    assert (outcome.ending, outcome.stdout_tail) == (Ending.WALL_TIME, "tidy\n")


async def test_processor_time_is_bounded_over_all_processes(processes: LocalProcesses) -> None:
    script = "for i in 1 2 3; do (while :; do :; done) & done; wait"

    outcome = (await shell(processes, script, Limits(cpu_time_s=1, wall_time_s=30))).outcome

    assert outcome.ending is Ending.CPU_TIME, outcome
    assert 0.8 < outcome.cpu_time_s < 4


async def test_a_gigabyte_of_output_is_cut_off_and_leaves_the_server_small(processes: LocalProcesses) -> None:
    before = psutil.Process().memory_info().rss
    heard = 0

    def listen(piece: TaskOutput) -> None:
        nonlocal heard
        heard += len(piece.text)

    ending = await processes.run(
        ["sh", "-c", "yes | head -c 1000000000"], task_id=TASK, limits=Limits(output_bytes=4 * MIB), emit=listen
    )

    outcome = ending.outcome
    assert outcome.ending is Ending.OUTPUT_LIMIT
    assert heard == 4 * MIB == (processes.folder(TASK) / "stdout").stat().st_size
    assert outcome.output_bytes < 5 * MIB
    assert psutil.Process().memory_info().rss - before < 16 * MIB


async def test_a_daemon_does_not_outlive_its_task(processes: LocalProcesses, nap: str) -> None:
    daemon = f"""
        import os
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execlp("sleep", "sleep", "{nap}")
            os._exit(0)
        os.wait()
        print("left", flush=True)
    """

    outcome = (await python(processes, daemon)).outcome

    assert (outcome.ending, outcome.stdout_tail) == (Ending.SUCCEEDED, "left\n")
    assert outcome.duration_s < 20
    assert not running(nap)


async def test_a_fork_bomb_stays_within_its_processes(processes: LocalProcesses) -> None:
    bomb = """
        import os, time
        born = 0
        while born < 400:
            try:
                if os.fork() == 0: time.sleep(60); os._exit(0)
                born += 1
            except OSError:
                print("refused", flush=True)
                os._exit(7)
        time.sleep(20)
    """

    outcome = (await python(processes, bomb, Limits(processes=40, wall_time_s=15))).outcome

    assert outcome.ending in (Ending.EXIT_CODE, Ending.SIGNAL), outcome
    assert "40" in outcome.message


async def test_the_network_is_closed_unless_asked_for(processes: LocalProcesses) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5).recv(1); print('through')"

    async with server:
        closed = await python(processes, connect)
        opened = await python(processes, connect, Limits(network=True, wall_time_s=20))

    assert (closed.outcome.ending, closed.outcome.stdout_tail) == (Ending.EXIT_CODE, "")
    assert (opened.outcome.ending, opened.outcome.stdout_tail) == (Ending.SUCCEEDED, "through\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["no-such-program-anywhere"], "there is no executable 'no-such-program-anywhere'"),
        (["./plain"], "may not be executed"),
        (["./garbage"], "no program for this machine"),
    ],
)
async def test_what_cannot_be_executed_is_told_apart(processes: LocalProcesses, argv: list[str], said: str) -> None:
    folder = processes.folder(TASK)
    folder.mkdir(parents=True)
    (folder / "plain").write_text("#!/bin/sh\n")
    (folder / "garbage").write_bytes(b"\x00\x01\x02")
    (folder / "garbage").chmod(0o755)

    outcome = (await run(processes, *argv)).outcome

    assert (outcome.ending, outcome.exit_code) == (Ending.CANNOT_START, None)
    assert said in outcome.message


async def test_cancelling_kills_everything_before_it_returns(processes: LocalProcesses, nap: str) -> None:
    begun = asyncio.Event()
    work = asyncio.create_task(
        processes.run(
            ["sh", "-c", f"trap '' TERM; sleep {nap} & echo up; sleep {nap}"],
            task_id=TASK,
            limits=Limits(),
            emit=lambda piece: begun.set(),
        )
    )
    await asyncio.wait_for(begun.wait(), 10)
    assert running(nap)

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert not running(nap)


async def test_a_cancelled_anyio_scope_leaves_nothing_either(processes: LocalProcesses, nap: str) -> None:
    with anyio.move_on_after(0.5):
        await shell(processes, f"sleep {nap}")

    assert not running(nap)


async def test_a_task_sees_neither_keys_nor_files_of_the_server(
    processes: LocalProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDUCTOR_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Path(os.devnull).open() as open_in_the_server:
        assert open_in_the_server.fileno() > 2
        outcome = (await shell(processes, "env; ls /proc/self/fd | wc -l")).outcome

    assert outcome.ending is Ending.SUCCEEDED
    assert "secret" not in outcome.stdout_tail
    assert f"CONDUCTOR_TASK_DIR={processes.folder(TASK)}" in outcome.stdout_tail
    assert outcome.stdout_tail.splitlines()[-1].strip() == "4"  # its three streams and the listing itself


async def test_the_environment_of_a_task_does_not_reach_the_unconfined_launcher(processes: LocalProcesses) -> None:
    ending = await processes.run(
        ["true"],
        task_id=TASK,
        limits=Limits(),
        emit=lambda piece: None,
        environment={"LD_PRELOAD": "/no/such/library.so"},
    )

    assert ending.outcome.stderr_tail.count("/no/such/library.so") == 1


async def test_stdin_of_any_size_is_read(processes: LocalProcesses) -> None:
    text = b"x" * 3_000_000

    ending = await processes.run(["wc", "-c"], task_id=TASK, limits=Limits(), emit=lambda piece: None, stdin=text)

    assert ending.outcome.stdout_tail.strip() == "3000000"


async def test_a_task_id_cannot_leave_the_root(processes: LocalProcesses) -> None:
    with pytest.raises(Exception, match="cannot name a folder"):
        await processes.run(["true"], task_id=TaskId("../x"), limits=Limits(), emit=lambda piece: None)


SERVER = """
import asyncio, os, sys, time
from functools import partial
from pathlib import Path
from conductor.adapters.local_processes.control_groups import ControlGroups
from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.domain.workload import Limits
from conductor.fleet.confinement import ConfinementPolicy, carve
from conductor.fleet.ports import MachineFacts

class Clock:
    now_unix_s = staticmethod(time.time)
    monotonic_s = staticmethod(time.monotonic)

namespaces, root, nap = sys.argv[1:]
facts = MachineFacts(namespaces=namespaces, seccomp=True, root=os.geteuid() == 0)
processes = LocalProcesses(root=Path(root), node_id="n", clock=Clock(), groups=ControlGroups(Path("/nowhere")),
    carve=partial(carve, facts=facts, policy=ConfinementPolicy()), environment=os.environ)
script = f"(setsid sleep {nap} &) ; trap '' TERM; echo up; sleep {nap}"
asyncio.run(processes.run(["sh", "-c", script], task_id="t", limits=Limits(), emit=lambda p: print(p.text, flush=True)))
"""


@pytest.mark.parametrize("with_namespaces", [True, False])
async def test_kill_9_of_the_server_leaves_no_process_behind(
    with_namespaces: bool, facts: MachineFacts, tmp_path: Path, nap: str
) -> None:
    if with_namespaces and not facts.namespaces:
        pytest.skip("namespaces are not allowed on this machine")
    namespaces = facts.namespaces if with_namespaces else ""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, namespaces, str(tmp_path), nap],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2] / "src"), *sys.path])},
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"up\n"
    assert len(running(nap)) == 2

    server.kill()
    server.wait()
    server.stdout.close()

    assert await until_gone(nap)


async def test_a_full_disk_ends_the_task_with_a_clear_message(make_processes: MakeProcesses, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    processes = make_processes()
    small = tmp_path / "tasks"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        outcome = (await shell(processes, "yes | head -c 8000000; sleep 60")).outcome
        again = (await shell(processes, "echo hello")).outcome
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)

    assert outcome.ending is Ending.EXCEPTION
    assert "No space left on device" in outcome.message
    assert outcome.duration_s < 30
    assert "No space left on device" in again.message


async def test_a_slice_that_cannot_be_made_is_not_run_without_it(make_processes: MakeProcesses) -> None:
    processes = make_processes(namespaces="", seccomp=False)

    outcome = (await shell(processes, "echo ran")).outcome

    assert (outcome.ending, outcome.stdout_tail) == (Ending.CANNOT_START, "")
    assert "no network" in outcome.message


async def test_a_superusers_task_cannot_lift_its_own_bounds(make_processes: MakeProcesses, facts: MachineFacts) -> None:
    if not facts.root or facts.namespaces != "root" or "memory" not in facts.controllers:
        pytest.skip("needs root, namespaces and control groups")
    processes = make_processes()
    script = """
        groups=/sys/fs/cgroup
        for way in "mount -t tmpfs none /mnt" "ip link add d0 type dummy" "mount -o remount,rw $groups/memory"; do
            $way 2>/dev/null && echo "could: $way"
        done
        for entry in $(find $groups -maxdepth 2 -name cgroup.procs); do
            (echo $$ > $entry) 2>/dev/null && echo "could: $entry"
        done
        ls /proc | grep -c '^[0-9]'
    """

    outcome = (await shell(processes, script)).outcome

    assert outcome.stdout_tail.split() in (["4"], ["5"]), outcome.stdout_tail


async def test_thirty_tasks_at_once_all_end(make_processes: MakeProcesses) -> None:
    processes = make_processes()

    async def one(number: int) -> str:
        ending = await processes.run(
            ["echo", str(number)], task_id=TaskId(f"t{number}"), limits=Limits(), emit=lambda piece: None
        )
        return ending.outcome.stdout_tail

    said = await asyncio.gather(*(one(number) for number in range(30)))

    assert said == [f"{number}\n" for number in range(30)]


async def test_open_descriptors_do_not_grow(make_processes: MakeProcesses) -> None:
    processes = make_processes()
    await shell(processes, "true")
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(5):
        await shell(processes, "true")
        await run(processes, "missing-program")

    assert len(list(Path("/proc/self/fd").iterdir())) == before
