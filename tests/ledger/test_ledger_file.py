import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.ledger.building import a_ledger_file, opened, take, verified

from conductor.adapters.ledger_file import DiskLedgerFile, RecordFile, read_lines
from conductor.domain.errors import Conflict, StorageError


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond this, as on a full disk: part of a write goes through, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_costs_no_entry_and_no_block(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [200])
    before = path.read_bytes()
    with opened(tmp_path) as ledger:
        take(ledger, 100)
        lines = [ledger.read(index).line for index in range(300)]

        with files_limited_to(len(before) + 5000):
            for _ in range(2):
                with pytest.raises(StorageError, match="appending to"):
                    ledger.seal()
                assert path.read_bytes() == before
                assert (ledger.pending, ledger.size) == (100, 200)
            assert ledger.entry("outcome", "still", {}).index == 300

        assert ledger.seal(300) is not None
        assert [entry.line for entry in ledger.entries(0, 300)] == lines
    assert verified(path).ok


def test_lines_come_with_their_offsets_from_anywhere_up_to_anywhere(tmp_path: Path) -> None:
    with DiskLedgerFile.open(tmp_path / "ledger.jsonl") as file:
        file.append(b"one\ntwo\n")
        file.append(b"three\n")

        assert list(file.lines()) == [(0, b"one\n"), (4, b"two\n"), (8, b"three\n")]
        assert list(file.lines(4)) == [(4, b"two\n"), (8, b"three\n")]
        assert list(file.lines(0, 8)) == [(0, b"one\n"), (4, b"two\n")]
        assert list(file.lines(14)) == list(file.lines(2**64)) == []
        assert file.size_bytes == 14


def test_a_second_process_cannot_open_it_for_writing_but_can_read_it(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [2])
    program = (
        "import sys; from pathlib import Path; from conductor.adapters.ledger_file import *; path = Path(sys.argv[1])\n"
        "print(len(list(read_lines(path))))\n"
        "DiskLedgerFile.open(path)"
    )

    with opened(tmp_path):
        other = subprocess.run(
            [sys.executable, "-c", program, path],
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        with pytest.raises(Conflict, match="another process"):
            DiskLedgerFile.open(path)

    assert other.stdout == "3\n"
    assert "Conflict: another process has the ledger" in other.stderr
    with opened(tmp_path) as ledger:
        assert ledger.size == 2


def test_a_ledger_that_cannot_be_opened_leaves_the_lock_free(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.mkdir()
    with pytest.raises(StorageError, match="opening"):
        DiskLedgerFile.open(path)
    path.rmdir()

    with opened(tmp_path) as ledger:
        assert ledger.size == 0


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        DiskLedgerFile.open(tmp_path / "missing" / "ledger.jsonl")
    with pytest.raises(StorageError, match="does not exist"):
        list(read_lines(tmp_path / "ledger.jsonl"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write to everything")
def test_a_file_that_may_not_be_written_is_said_to_be_so(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [1])
    path.chmod(0o400)

    with pytest.raises(StorageError, match="make file and folder writable"):
        DiskLedgerFile.open(path)


def test_nothing_is_appended_behind_what_somebody_else_wrote(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [1])
    with opened(tmp_path) as ledger:
        take(ledger, 1)
        with path.open("ab") as other:
            other.write(b"x")

        with pytest.raises(StorageError, match="something else changed it"):
            ledger.seal()

        assert ledger.pending == 1
        os.truncate(path, path.stat().st_size - 1)
        assert ledger.seal() is not None
    assert verified(path).ok


def test_nothing_is_written_to_a_file_that_was_deleted(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [1])
    with opened(tmp_path) as ledger:
        take(ledger, 1)
        path.unlink()

        with pytest.raises(StorageError, match="was deleted"):
            ledger.seal()
        assert ledger.pending == 1


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    a_ledger_file(tmp_path, [1])

    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")}

    assert modes == dict.fromkeys(["ledger.jsonl", "ledger.lock", "ledger.index", "leaves", "blocks", "nodes"], 0)


def test_records_are_replaced_from_where_they_are_written(tmp_path: Path) -> None:
    table = RecordFile(tmp_path / "table", 4)
    table.write(0, b"aaaabbbbcccc")

    table.write(1, b"dddd")

    assert (len(table), table.read(0, 9), table.read(1), table.read(2), table.read(2**63)) == (
        2,
        b"aaaadddd",
        b"dddd",
        b"",
        b"",
    )
    table.close()
    assert RecordFile(tmp_path / "table", 4).read(0, 2) == b"aaaadddd"


def test_a_torn_record_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(b"aaaabb")

    assert len(RecordFile(tmp_path / "table", 4)) == 1
