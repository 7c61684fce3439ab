import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.building import StillClock, a_body, a_ledger_file, opened, signer, take, verified
from tests.ledger.test_merkle import naive_root

from conductor.adapters.ledger_file import DiskLedgerFile
from conductor.adapters.schnorr import schnorr_check
from conductor.domain.errors import Conflict, InvalidInput, LedgerError, NotFound, StorageError
from conductor.ledger.block import NO_PREVIOUS
from conductor.ledger.chain import Ledger
from conductor.ledger.entry import make_entry
from conductor.ledger.merkle import leaf_hash

STEPS = st.lists(st.sampled_from(["entry", "entry", "entry", "seal", "reopen", "lose index"]), max_size=25)


def test_an_empty_ledger_has_no_head_and_verifies(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert (ledger.head, ledger.size, ledger.next_index, ledger.pending) == (None, 0, 0, 0)
        assert ledger.seal() is None
        assert ledger.verify().ok
        assert list(ledger.blocks()) == []


def test_an_entry_has_its_place_at_once_and_can_be_read_before_and_after_it_is_sealed(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        take(ledger, 2)
        entry = ledger.entry("outcome", "task-7", a_body(7))
        assert (entry.index, ledger.next_index, ledger.pending) == (2, 3, 3)
        before = ledger.read(2)

        ledger.seal()

        assert ledger.read(2) == before == entry
        assert (ledger.pending, ledger.size, ledger.next_index) == (0, 3, 3)


def test_an_entrys_line_is_its_canonical_json(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        entry = ledger.entry("model", "minilm", {"z": 1.0, "a": "é"})

    assert entry.line == (
        '{"at_unix_ms":1763718693125,"body":{"a":"é","z":1},"index":0,"kind":"model","subject":"minilm"}'.encode()
    )


def test_blocks_name_the_one_before_and_the_tree_up_to_them(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for count in (1, 3, 2):
            take(ledger, count)
            ledger.seal()
        headers = [signed.header for signed in ledger.blocks()]
        lines = [ledger.read(index).line for index in range(6)]

    assert [header.height for header in headers] == [0, 1, 2]
    assert [header.size for header in headers] == [1, 4, 6]
    assert [header.root for header in headers] == [naive_root(lines[:size]).hex() for size in (1, 4, 6)]
    assert [header.previous for header in headers] == [NO_PREVIOUS, *(header.digest.hex() for header in headers[:2])]


def test_only_entries_below_the_size_given_are_sealed(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        take(ledger, 5)

        signed = ledger.seal(3)

        assert signed is not None
        assert (signed.header.size, ledger.pending) == (3, 2)
        assert ledger.seal(3) is None
        last = ledger.seal()
        assert last is not None
        assert last.header.size == 5


def test_a_body_without_canonical_form_takes_no_place(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        with pytest.raises(InvalidInput):
            ledger.entry("outcome", "t", {"duration_s": float("nan")})
        assert (ledger.next_index, ledger.pending) == (0, 0)


@settings(max_examples=30, deadline=None)
@given(steps=STEPS)
def test_any_course_of_entries_blocks_and_restarts_keeps_the_roots_of_the_definition(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    file = DiskLedgerFile.open(folder / "ledger.jsonl")
    ledger = Ledger.open(file, signer(), StillClock(), check=schnorr_check)
    lines: list[bytes] = []
    for step in steps:
        if step == "entry":
            lines.append(ledger.entry("decision", f"task-{len(lines)}", a_body(len(lines))).line)
        elif step == "seal":
            ledger.seal()
        else:
            file.close()
            if step == "lose index":
                for table in (folder / "ledger.index").iterdir():
                    table.unlink()
            file = DiskLedgerFile.open(folder / "ledger.jsonl")
            sealed = ledger.size
            ledger = Ledger.open(file, signer(), StillClock(), check=schnorr_check)
            assert (ledger.size, ledger.torn_tail) == (sealed, None)
            ledger.restore(lines)
    ledger.seal()

    assert [entry.line for entry in ledger.entries(0, len(lines) + 1)] == lines
    for signed in ledger.blocks():
        assert signed.header.root == naive_root(lines[: signed.header.size]).hex()
    assert ledger.verify().ok
    file.close()
    found = verified(folder / "ledger.jsonl")
    assert (found.ok, found.entries, found.head) == (True, len(lines), ledger.head)


def test_entries_may_be_taken_while_blocks_are_sealed(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        done = threading.Event()

        def seal_on() -> None:
            while not done.is_set():
                ledger.seal()

        sealers = [threading.Thread(target=seal_on) for _ in range(2)]
        for sealer in sealers:
            sealer.start()
        take(ledger, 2000)
        done.set()
        for sealer in sealers:
            sealer.join()
        ledger.seal()

        assert (ledger.size, ledger.pending) == (2000, 0)
        assert [entry.subject for entry in ledger.entries(0, 2000)] == [f"task-{n}" for n in range(2000)]
        assert ledger.verify().ok


def test_reading_stays_right_while_blocks_are_sealed(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        take(ledger, 3)
        ledger.seal()
        wrong: list[Exception] = []

        def read_on() -> None:
            try:
                for _ in range(60):
                    size = ledger.size
                    ledger.receipt(size - 1)
                    ledger.consistency(1, size)
            except Exception as failure:
                wrong.append(failure)

        reader = threading.Thread(target=read_on)
        reader.start()
        while reader.is_alive():
            take(ledger, 3)
            ledger.seal()
        reader.join()

        assert wrong == []


def test_restored_entries_are_sealed_as_they_were_made(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        take(ledger, 2)
        ledger.seal()
        take(ledger, 3)
        lines = [ledger.read(index).line for index in range(5)]

    with opened(tmp_path) as ledger:
        ledger.restore(lines)
        assert (ledger.pending, ledger.next_index) == (3, 5)
        ledger.seal()
        assert [entry.line for entry in ledger.entries(0, 5)] == lines


def test_restoring_another_entry_than_was_sealed_is_refused(tmp_path: Path) -> None:
    a_ledger_file(tmp_path, [2])
    other = make_entry(index=1, kind="decision", subject="task-1", at_unix_ms=1, body={})

    with opened(tmp_path) as ledger, pytest.raises(LedgerError, match="do not belong together"):
        ledger.restore([other.line])


def test_restoring_with_a_gap_is_refused(tmp_path: Path) -> None:
    a_ledger_file(tmp_path, [2])
    later = make_entry(index=3, kind="decision", subject="task-3", at_unix_ms=1, body={})

    with opened(tmp_path) as ledger, pytest.raises(LedgerError, match="should be 2, but it is 3"):
        ledger.restore([later.line])


def test_restoring_what_is_no_entry_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger, pytest.raises(LedgerError, match="not an entry"):
        ledger.restore([b'{"index":0}'])


def test_a_ledger_is_not_continued_with_another_key(tmp_path: Path) -> None:
    a_ledger_file(tmp_path, [1])

    with pytest.raises(LedgerError, match="sealed with the key"), opened(tmp_path, secret=bytes(31) + b"\x09"):
        pass


def test_what_is_not_there_or_not_sealed_yet_is_said_to_be_so(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        with pytest.raises(NotFound, match="empty"):
            ledger.consistency(0)
        take(ledger, 1)
        ledger.seal()
        take(ledger, 1)
        with pytest.raises(Conflict, match="not sealed yet"):
            ledger.receipt(1)
        for index in (-1, 2):
            with pytest.raises(NotFound):
                ledger.receipt(index)
            with pytest.raises(NotFound):
                ledger.read(index)
        for index, size in [(0, 2), (1, 1), (-1, 1)]:
            with pytest.raises(InvalidInput):
                ledger.inclusion(index, size)
        for old, new in [(2, 1), (0, 2), (-1, 1)]:
            with pytest.raises(InvalidInput):
                ledger.consistency(old, new)


def test_a_consistency_proof_ends_at_a_block(tmp_path: Path) -> None:
    a_ledger_file(tmp_path, [3, 3])

    with opened(tmp_path) as ledger:
        with pytest.raises(InvalidInput, match="no block was sealed at 5"):
            ledger.consistency(1, 5)
        assert ledger.consistency(3, 6)["old"] is not None
        assert ledger.consistency(2, 3)["old"] is None


@pytest.mark.parametrize("table", ["leaves", "blocks", "nodes"])
def test_a_damaged_index_is_made_again_when_it_is_used(tmp_path: Path, table: str) -> None:
    a_ledger_file(tmp_path, [5, 4, 7])
    with opened(tmp_path) as ledger:
        expected = (
            ledger.receipt(6),
            ledger.consistency(5, 9),
            [*ledger.blocks()],
            ledger.entries(0, 16),
            ledger.read(3),
        )
        path = tmp_path / "ledger.index" / table
        whole = path.read_bytes()

        for damage in (bytes(len(whole)), whole[: len(whole) // 2], b"\xff" * len(whole)):
            path.write_bytes(damage)
            found = (
                ledger.receipt(6),
                ledger.consistency(5, 9),
                [*ledger.blocks()],
                ledger.entries(0, 16),
                ledger.read(3),
            )
            assert found == expected

        take(ledger, 2)
        ledger.seal()
        assert ledger.read(17).subject == "task-1"
    with opened(tmp_path) as ledger:
        assert (ledger.size, ledger.verify().ok) == (18, True)


def test_an_entry_damaged_in_the_file_is_not_handed_out(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [5])

    with opened(tmp_path) as ledger:
        path.write_bytes(path.read_bytes().replace(b'"task-3"', b'"task-9"'))

        assert ledger.read(2).subject == "task-2"
        with pytest.raises(LedgerError, match="entry 3") as failure:
            ledger.receipt(3)
        assert failure.value.details["entry"] == 3
        with pytest.raises(LedgerError, match="entry 3"):
            ledger.read(3)


def test_a_block_that_cannot_be_indexed_is_sealed_all_the_same(tmp_path: Path) -> None:
    file = DiskLedgerFile.open(tmp_path / "ledger.jsonl")
    file.nodes = FullTable()  # type: ignore[assignment]
    ledger = Ledger.open(file, signer(), StillClock(), check=schnorr_check)
    take(ledger, 2)

    signed = ledger.seal()

    assert signed is not None
    assert (ledger.pending, ledger.verify().ok) == (0, True)
    with pytest.raises(StorageError, match="no space"):
        ledger.receipt(0)
    file.close()
    with opened(tmp_path) as ledger:
        assert ledger.head == signed
        assert ledger.receipt(0)["index"] == 0


class FullTable:
    """A table on a full disk."""

    def __len__(self) -> int:
        return 0

    def read(self, start: int, count: int = 1) -> bytes:
        return b""

    def write(self, start: int, data: bytes) -> None:
        raise StorageError("no space left for the table")

    def close(self) -> None:
        pass


def test_leaf_hashes_are_those_of_the_lines_in_the_file(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [1])
    entry, block, rest = path.read_bytes().split(b"\n")

    assert rest == b""
    assert leaf_hash(entry).hex().encode() in block
