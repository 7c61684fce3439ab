import sqlite3
from pathlib import Path

import pytest
from benchmarks.harness import WrongResult
from benchmarks.queue import ROAD, Timing, check_record, quickest, rows_of


def a_record(folder: Path, *, tasks: int, road: str = ROAD, kinds: tuple[str, ...] = ("decision", "outcome")) -> None:
    """A database with the columns the check reads; the last task took `road` and has ledger entries of `kinds`."""
    database = sqlite3.connect(folder / "conductor.db")
    database.execute("CREATE TABLE tasks (task_id, state)")
    database.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, task_id, state)")
    database.execute("CREATE TABLE ledger_subjects (entry_index INTEGER PRIMARY KEY, subject, kind)")
    for number in range(tasks):
        is_last = number == tasks - 1
        states = (road if is_last else ROAD).split()
        database.execute("INSERT INTO tasks VALUES (?, ?)", (number, states[-1]))
        database.executemany("INSERT INTO events (task_id, state) VALUES (?, ?)", [(number, state) for state in states])
        database.executemany(
            "INSERT INTO ledger_subjects (subject, kind) VALUES (?, ?)",
            [(number, kind) for kind in (kinds if is_last else ("decision", "outcome"))],
        )
    database.execute("INSERT INTO ledger_subjects (subject, kind) VALUES ('encoder', 'model')")
    database.commit()
    database.close()


def test_a_complete_record_is_believed(tmp_path: Path) -> None:
    a_record(tmp_path, tasks=3)

    check_record(tmp_path, tasks=3)


@pytest.mark.parametrize(
    "flaw",
    [
        {"road": ROAD.replace("succeeded", "failed")},
        {"road": ROAD.replace(" placed", "")},
        {"road": ROAD.replace("decided queued", "queued decided")},
        {"kinds": ("decision",)},
        {"kinds": ("decision", "outcome", "outcome")},
    ],
)
def test_a_record_with_one_flawed_task_is_refused(flaw: dict[str, object], tmp_path: Path) -> None:
    a_record(tmp_path, tasks=3, **flaw)

    with pytest.raises(WrongResult, match="of 3 tasks"):
        check_record(tmp_path, tasks=3)


def test_a_lost_task_is_noticed(tmp_path: Path) -> None:
    a_record(tmp_path, tasks=3)

    with pytest.raises(WrongResult, match="of 4 tasks 3 succeeded"):
        check_record(tmp_path, tasks=4)


def test_the_goals_are_judged_against_each_peer() -> None:
    timings = {
        "ours": [Timing(5000.0, (1.0, 2.0))],
        "celery": [Timing(500.0, (4.0, 4.0))],
        "taskiq": [Timing(700.0, (3.0, 9.0))],
        "ray": [Timing(10_000.0, (0.5, 0.5))],
    }

    rows = rows_of(timings, {name: name for name in ("celery", "taskiq", "ray")})

    verdicts = [(row["unit"], row["peer_name"], row["ratio"], row["met"]) for row in rows]
    assert verdicts[:4] == [
        ("tasks/s", None, None, True),
        ("tasks/s", "celery", 10.0, True),
        ("tasks/s", "taskiq", 7.143, False),
        ("tasks/s", "ray", 0.5, None),
    ]
    assert verdicts[4:] == [
        ("ms", "celery", 4.0, None),
        ("ms", "taskiq", 3.0, None),
        ("ms", "ray", 0.5, None),
        ("ms", "celery", 2.0, None),
        ("ms", "taskiq", 4.5, None),
        ("ms", "ray", 0.25, None),
    ]


def test_the_quickest_setting_of_a_peer_is_the_one_that_is_measured() -> None:
    settings = {"slow": lambda tasks, singles: Timing(1.0, ()), "quick": lambda tasks, singles: Timing(2.0, ())}

    assert quickest("peer", settings) == "quick"


def test_a_clients_line_is_read_below_what_its_libraries_print() -> None:
    output = 'warning: something\n{"tasks_per_s": 10.5, "single_s": [0.001, 0.25]}\n'

    assert Timing.parse(output) == Timing(10.5, (1.0, 250.0))
