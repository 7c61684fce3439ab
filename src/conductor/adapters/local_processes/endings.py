"""Tell how an attempt ended from what the launcher reported, what was counted, and why we stopped it, if we did.

Plain functions without side effects. The message says what happened, with the numbers, and what to do.

Covered: exit codes, signals by name, memory, wall and processor time, output, a full disk, processes that never began.
Not covered: memory exhaustion that a program under a per-process bound hides behind an ordinary exit code; there we
look for the usual words and say `likely`.
"""

import errno
import json
import os
import signal
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from conductor.adapters.local_processes.control_groups import GroupUsage
from conductor.domain.outcome import Ending
from conductor.domain.units import format_bytes, format_duration
from conductor.domain.workload import Limits
from conductor.fleet.ports import Slice

OUT_OF_MEMORY_WORDS: Final = ("MemoryError", "Cannot allocate memory", "std::bad_alloc", "out of memory")


class Stop(Enum):
    """Why the supervisor ended a task itself."""

    WALL_TIME = auto()
    CPU_TIME = auto()
    MEMORY = auto()
    PROCESSES = auto()
    OUTPUT = auto()
    DISK = auto()


@dataclass(slots=True)
class LauncherReport:
    """What the launcher said; times are monotonic nanoseconds, None where it did not get that far."""

    started_ns: int | None = None
    ended_ns: int | None = None
    wait_status: int | None = None
    cpu_time_s: float = 0.0
    largest_process_bytes: int = 0
    failed_step: str | None = None
    failed_errno: int = 0
    failed_text: str = ""

    @classmethod
    def parse(cls, lines: bytes) -> "LauncherReport":
        """Read the JSON lines; a last line cut off by a killed launcher is left out."""
        report = cls()
        for line in lines.split(b"\n")[:-1]:
            said = json.loads(line)
            if "started" in said:
                report.started_ns = said["started"]
            elif "ended" in said:
                report.wait_status, report.ended_ns = said["ended"], said["at"]
                report.cpu_time_s, report.largest_process_bytes = said["cpu_s"], said["peak_bytes"]
            elif report.failed_step is None:
                report.failed_step, report.failed_errno = said["cannot"], said["errno"]
                report.failed_text = said["text"]
        return report

    @property
    def duration_s(self) -> float | None:
        """How long the command itself ran."""
        if self.started_ns is None or self.ended_ns is None:
            return None
        return (self.ended_ns - self.started_ns) / 1e9

    @property
    def exit_code(self) -> int | None:
        """Set when the command ended by itself."""
        status = self.wait_status
        return os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None

    @property
    def signal(self) -> int | None:
        """Set when a signal ended the command."""
        status = self.wait_status
        return os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything known about an attempt that is over."""

    program: str
    directory: Path
    carved: Slice
    report: LauncherReport
    stop: Stop | None
    usage: GroupUsage
    cpu_time_s: float
    peak_bytes: int
    stderr_tail: str
    disk_error: str = ""


def judge(evidence: Evidence) -> tuple[Ending, str]:
    """How it ended, and one sentence about it. What we did ourselves comes before what the process shows of it."""
    if evidence.stop is not None:
        return _stopped(evidence, evidence.stop)
    report = evidence.report
    if evidence.usage.kills and report.exit_code != 0:
        return Ending.OUT_OF_MEMORY, _memory_message(evidence, "the kernel killed one of its processes")
    if report.failed_step is not None or report.started_ns is None:
        return Ending.CANNOT_START, _cannot_start_message(evidence)
    if report.exit_code == 0:
        return Ending.SUCCEEDED, f"done in {format_duration(report.duration_s or 0.0)}"
    if _ran_out_of_processor_time(evidence):
        return _stopped(evidence, Stop.CPU_TIME)
    if _likely_out_of_memory(evidence):
        return Ending.OUT_OF_MEMORY, _memory_message(evidence, "likely, by what it printed or held at its end")
    return _failed_by_itself(evidence)


def _stopped(evidence: Evidence, stop: Stop) -> tuple[Ending, str]:
    limits = evidence.carved.limits
    match stop:
        case Stop.WALL_TIME:
            return Ending.WALL_TIME, _over("ran longer than", format_duration(limits.wall_time_s), "wall_time_s")
        case Stop.CPU_TIME:
            return Ending.CPU_TIME, _over("used more processor time than", f"{limits.cpu_time_s:g} s", "cpu_time_s")
        case Stop.MEMORY:
            return Ending.OUT_OF_MEMORY, _memory_message(evidence, "all its processes together held more")
        case Stop.PROCESSES:
            return Ending.SIGNAL, _over("had more processes than", str(limits.processes), "processes")
        case Stop.OUTPUT:
            kept = format_bytes(limits.output_bytes)
            return Ending.OUTPUT_LIMIT, _over("printed or returned more than", kept, "output_bytes")
        case Stop.DISK:
            return Ending.EXCEPTION, (
                f"the task was stopped because its output could not be stored: {evidence.disk_error}; "
                "free space on the disk that holds the task folders and run it again"
            )


def _over(did: str, allowed: str, limit: str) -> str:
    return f"the task {did} its limit of {allowed} and was stopped; raise limits.{limit} if it needs more"


def _memory_message(evidence: Evidence, how: str) -> str:
    limits: Limits = evidence.carved.limits
    return (
        f"out of memory: the task reached its limit of {format_bytes(limits.memory_bytes)} ({how}); "
        "raise limits.memory_bytes or give it less to do at once"
    )


def _ran_out_of_processor_time(evidence: Evidence) -> bool:
    ended_by, limit_s = evidence.report.signal, evidence.carved.limits.cpu_time_s
    return ended_by == signal.SIGXCPU or (ended_by == signal.SIGKILL and evidence.cpu_time_s >= limit_s)


def _likely_out_of_memory(evidence: Evidence) -> bool:
    bound = evidence.carved.address_space_bytes
    if bound is None:
        return False
    return evidence.peak_bytes >= 0.9 * bound or any(word in evidence.stderr_tail for word in OUT_OF_MEMORY_WORDS)


def _cannot_start_message(evidence: Evidence) -> str:
    report, program = evidence.report, evidence.program
    if report.failed_step == "exec":
        return {
            errno.ENOENT: f"there is no executable {program!r} (or the interpreter its first line names is missing)",
            errno.EACCES: f"{program!r} may not be executed; make it executable with chmod +x",
            errno.ENOEXEC: f"{program!r} is no program for this machine; a script must begin with #!/bin/sh or such",
        }.get(report.failed_errno, f"{program!r} cannot be executed: {report.failed_text}")
    if report.failed_step == "directory":
        return f"the directory {str(evidence.directory)!r} cannot be entered: {report.failed_text}"
    if report.failed_step is not None:
        return f"the slice could not be made ({report.failed_step}: {report.failed_text}); the task was not started"
    return "the launcher ended before the command began; the memory limit may be too small to start a process at all"


def _failed_by_itself(evidence: Evidence) -> tuple[Ending, str]:
    report, refused = evidence.report, evidence.usage.refused_forks
    also = f"; it was refused more than its {evidence.carved.limits.processes} processes" if refused else ""
    if report.signal is not None:
        name = signal.Signals(report.signal).name if report.signal in set(signal.Signals) else f"signal {report.signal}"
        return Ending.SIGNAL, f"ended by {name}{also}"
    if report.exit_code is None:
        return Ending.SIGNAL, "the process that watched over the task was killed, and the task with it"
    code = report.exit_code
    return Ending.EXIT_CODE, f"{evidence.program} ended with exit code {code}{also}; its last words are in stderr"
