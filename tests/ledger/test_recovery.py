from pathlib import Path

import pytest
from tests.ledger.building import a_ledger_file, opened, take, verified

from conductor.domain.errors import LedgerError

BLOCKS = [3, 2, 4]


def test_a_crash_at_any_byte_of_the_last_block_loses_no_earlier_one_and_keeps_what_it_sets_aside(
    quick_folder: Path,
) -> None:
    path = a_ledger_file(quick_folder, BLOCKS[:2])
    kept = path.read_bytes()
    with opened(quick_folder) as ledger:
        take(ledger, BLOCKS[2])
        lines = [ledger.read(index).line for index in range(9)]
        ledger.seal()
    whole = path.read_bytes()

    for cut in range(len(kept), len(whole)):
        path.write_bytes(whole[:cut])
        with opened(quick_folder) as ledger:
            torn = ledger.torn_tail
            assert (ledger.size, ledger.next_index) == (5, 5)
            assert path.read_bytes() == kept
            assert (torn is None) == (cut == len(kept))
            if torn is not None:
                assert (torn.offset, torn.bytes_set_aside) == (len(kept), cut - len(kept))
                assert Path(torn.kept_in).read_bytes() == whole[len(kept) : cut]
                Path(torn.kept_in).unlink()
    with opened(quick_folder) as ledger:
        ledger.restore(lines)
        ledger.seal()
    assert path.read_bytes() == whole


def test_zeros_that_a_power_failure_left_are_set_aside(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, BLOCKS)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(5000))

    with opened(tmp_path) as ledger:
        assert ledger.torn_tail is not None
        assert ledger.torn_tail.bytes_set_aside == 5000

    assert path.read_bytes() == whole


def test_two_torn_ends_at_one_place_are_both_kept(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, BLOCKS)
    kept = []
    for tail in (b"one", b"two"):
        path.write_bytes(path.read_bytes() + tail)
        with opened(tmp_path) as ledger:
            assert ledger.torn_tail is not None
            kept.append(Path(ledger.torn_tail.kept_in))

    assert [file.read_bytes() for file in kept] == [b"one", b"two"]


def test_every_flipped_bit_of_the_last_block_is_refused_at_the_start_and_nothing_is_cut_off(quick_folder: Path) -> None:
    path = a_ledger_file(quick_folder, [1, 1])
    whole = path.read_bytes()
    begin = whole.index(b"\n", whole.index(b'{"block"')) + 1
    tables = {table: table.read_bytes() for table in (quick_folder / "ledger.index").iterdir()}

    for place in range(begin, len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            for table in tables:  # the start reads what the index does not cover, here everything
                table.write_bytes(b"")
            with pytest.raises(LedgerError, match="the ledger is damaged at line"), opened(quick_folder):
                pass
            assert path.read_bytes() == damaged


def test_the_index_is_caught_up_with_blocks_it_does_not_know(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, BLOCKS[:1])
    tables = {table: table.read_bytes() for table in (tmp_path / "ledger.index").iterdir()}
    path = a_ledger_file(tmp_path, BLOCKS[1:])
    caught_up = {table: table.read_bytes() for table in tables}
    for table, before in tables.items():
        table.write_bytes(before)

    with opened(tmp_path) as ledger:
        assert ledger.size == 9
        assert ledger.receipt(8)["index"] == 8

    assert {table: table.read_bytes() for table in tables} == caught_up
    assert verified(path).ok


@pytest.mark.parametrize("damage", [b"", b"\xff" * 400, bytes(400)])
@pytest.mark.parametrize("name", ["leaves", "blocks", "nodes"])
def test_no_state_of_a_table_prevents_the_start(tmp_path: Path, name: str, damage: bytes) -> None:
    a_ledger_file(tmp_path, BLOCKS)
    (tmp_path / "ledger.index" / name).write_bytes(damage)

    with opened(tmp_path) as ledger:
        assert (ledger.size, ledger.torn_tail) == (9, None)
        for index in range(9):
            assert ledger.read(index).index == index
            assert ledger.receipt(index)["index"] == index


def test_a_file_cut_back_to_an_earlier_block_opens_there_and_forgets_the_index_of_the_rest(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, BLOCKS[:2])
    earlier = path.read_bytes()
    a_ledger_file(tmp_path, BLOCKS[2:])
    path.write_bytes(earlier)

    with opened(tmp_path) as ledger:
        assert ledger.size == 5
        take(ledger, 1)
        ledger.seal()
        assert ledger.consistency(5, 6)["old"] is not None
        assert [entry.index for entry in ledger.entries(0, 99)] == list(range(6))


def test_another_file_in_the_place_of_the_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"dear diary\nnothing happened\n")

    with pytest.raises(LedgerError, match=r"line 1 \(byte 0"), opened(tmp_path):
        pass

    assert path.read_bytes() == b"dear diary\nnothing happened\n"
