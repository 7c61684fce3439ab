import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ledger.building import a_ledger_file, opened, signer, take, verified

from conductor.adapters.ledger_file import read_lines
from conductor.adapters.schnorr import schnorr_check
from conductor.ledger.block import Header, block_line, sign_header
from conductor.ledger.entry import make_entry
from conductor.ledger.merkle import CompactRange, leaf_hash
from conductor.ledger.verify import verify_file


def line_at(data: bytes, place: int) -> tuple[int, int]:
    """Where the line that holds a byte begins, and its number from 1."""
    return data.rfind(b"\n", 0, place) + 1, data.count(b"\n", 0, place) + 1


def expect_found(path: Path, whole: bytes, place: int, bit: int) -> None:
    damaged = bytearray(whole)
    damaged[place] ^= 1 << bit
    path.write_bytes(damaged)
    offset, number = line_at(whole, place)

    found = verified(path)

    where = f"bit {bit} of byte {place}"
    assert not found.ok, where
    first = found.faults[0]
    assert (first.offset, first.line) == (offset, number), where
    line = whole[offset : whole.index(b"\n", offset) + 1]
    index = whole[:offset].count(b'{"at_unix_ms":1763718693125,"body"')
    if line.startswith(b'{"at_unix_ms"'):
        block_is_lost = whole[place : place + 9] == b'\n{"block"'  # then nothing proves the entries before it either
        assert first.entry == index, where
        assert found.entries == index or block_is_lost, where
    else:
        blocks = whole[:offset].count(b'{"block"')
        assert (first.block in (None, blocks), found.blocks) == (True, blocks), where


def test_every_single_flipped_bit_is_found_at_its_line_and_names_its_entry(quick_folder: Path) -> None:
    path = a_ledger_file(quick_folder, [2, 1, 2])
    whole = path.read_bytes()
    assert 2000 < len(whole) < 4000

    for place in range(len(whole)):
        for bit in range(8):
            expect_found(path, whole, place, bit)


def test_flipped_bits_of_a_larger_file_are_found_at_their_lines(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [40, 1, 300, 7, 120])
    whole = path.read_bytes()
    choose = random.Random(7)

    for _ in range(150):
        expect_found(path, whole, choose.randrange(len(whole)), choose.randrange(8))


def test_a_sound_file_verifies_to_its_head(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [3, 4])
    with opened(tmp_path) as ledger:
        head = ledger.head

    found = verified(path)

    assert (found.ok, found.faults, found.growing_bytes) == (True, (), 0)
    assert (found.entries, found.blocks, found.size_bytes, found.head) == (7, 2, path.stat().st_size, head)


def test_an_empty_file_verifies_as_an_empty_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.touch()

    found = verified(path)

    assert (found.ok, found.entries, found.blocks, found.head) == (True, 0, 0, None)


def test_all_changed_entries_are_named_and_the_blocks_behind_them_still_judged(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [4, 4, 4])
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for number in (1, 3, 11):
        lines[number] = lines[number].replace(b'"GPU"', b'"CPU"')
    path.write_bytes(b"".join(lines))

    found = verified(path)

    assert [(fault.entry, fault.line, fault.block) for fault in found.faults] == [(1, 2, 0), (3, 4, 0), (9, 12, 2)]
    assert [fault.offset for fault in found.faults] == [len(b"".join(lines[:number])) for number in (1, 3, 11)]
    assert found.entries == 1
    assert str(found.faults[0]).startswith("line 2 (byte ")


Change = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    ("change", "line", "entry"),
    [
        (lambda lines: lines[:1] + lines[2:], 2, 1),  # an entry taken out
        (lambda lines: [*lines[:1], lines[0], *lines[1:]], 2, 1),  # an entry repeated
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1, 0),  # two entries exchanged
        (lambda lines: lines[:3] + lines[7:], 4, None),  # a whole block taken out
        (lambda lines: lines[3:], 1, 0),  # the first block taken out
        (lambda lines: lines[:3] + lines[:3] + lines[3:], 4, 2),  # a block repeated
        (lambda lines: lines[:2] + lines[3:], 6, None),  # a block line taken out
        (lambda lines: lines[:-1], 8, None),  # the last block line taken out
        (lambda lines: [*lines, b"\n"], 11, 7),  # an empty line behind the end
        (lambda lines: [*lines[:-1], lines[-1][:-1]], 10, None),  # the last newline taken off
        (lambda lines: [*lines[:-1], lines[-1].replace(b",", b", ", 1)], 10, None),  # not canonical any more
    ],
)
def test_lines_moved_removed_or_added_are_found(tmp_path: Path, change: Change, line: int, entry: int | None) -> None:
    path = a_ledger_file(tmp_path, [2, 3, 2])
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    first = verified(path).faults[0]

    assert first.line == line
    assert entry is None or first.entry == entry


def test_a_file_cut_back_to_an_earlier_block_is_found_when_the_head_is_known(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [2])
    earlier = path.read_bytes()
    a_ledger_file(tmp_path, [2])
    with opened(tmp_path) as ledger:
        head = ledger.head
        path.write_bytes(earlier)
        inside = ledger.verify()

    outside = verify_file(read_lines(path), schnorr_check, known=head)

    assert verified(path).ok
    assert inside == outside
    assert "ends after 1 blocks, but 2 are known" in str(outside.faults[0])
    assert outside.entries == 2


def test_another_ledger_by_the_same_key_is_found_when_the_head_is_known(tmp_path: Path) -> None:
    for name, count in (("a", 2), ("b", 3)):
        (tmp_path / name).mkdir()
        a_ledger_file(tmp_path / name, [count, 1])
    with opened(tmp_path / "b") as ledger:
        head = next(iter(ledger.blocks()))

    found = verify_file(read_lines(tmp_path / "a" / "ledger.jsonl"), schnorr_check, known=head)

    assert "this is a different ledger" in found.faults[0].reason


def test_a_ledger_signed_anew_by_another_key_is_found_when_the_key_is_known(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [2])

    found = verify_file(read_lines(path), schnorr_check, public_key=signer(bytes(31) + b"\x09").public_key)

    assert "sealed by" in found.faults[0].reason
    assert (found.entries, found.blocks) == (0, 0)


def test_a_block_added_by_another_key_is_found(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [2])
    forged_block(path, bytes(31) + b"\x09", index=2)

    found = verified(path)

    assert "sealed by" in found.faults[0].reason
    assert (found.entries, found.blocks) == (2, 1)


def test_an_entry_that_lies_about_its_place_is_found_even_if_it_was_signed(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [2])
    forged_block(path, bytes(31) + b"\x03", index=7)

    found = verified(path)

    assert [(fault.entry, fault.reason) for fault in found.faults] == [
        (2, "the entry calls itself 7, but it is number 2")
    ]


def forged_block(path: Path, secret: bytes, *, index: int) -> None:
    """Append a block of one entry that fits the tree and the block before it."""
    head = verified(path).head
    assert head is not None
    leaves = [leaf_hash(line[:-1]) for _, line in read_lines(path) if line.startswith(b'{"at_unix_ms"')]
    line = make_entry(index=index, kind="outcome", subject="x", at_unix_ms=0, body={}).line
    tree = CompactRange()
    tree.extend([*leaves, leaf_hash(line)])
    header = Header(
        height=head.header.height + 1,
        size=tree.size,
        root=tree.root().hex(),
        previous=head.header.digest.hex(),
        at_unix_ms=0,
        public_key=signer(secret).public_key,
    )
    block = block_line(sign_header(header, signer(secret)), [leaf_hash(line)])
    path.write_bytes(path.read_bytes() + line + b"\n" + block + b"\n")


def test_a_file_that_is_being_written_may_end_anywhere(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [2])
    sealed = path.stat().st_size
    a_ledger_file(tmp_path, [2])
    whole = path.read_bytes()

    for cut in [*range(sealed, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        growing = verify_file(read_lines(path), schnorr_check, growing=True)
        assert (growing.ok, growing.entries, growing.growing_bytes) == (True, 2, cut - sealed)
        at_rest = verify_file(read_lines(path), schnorr_check)
        assert (at_rest.ok, at_rest.entries) == (cut == sealed, 2)


def test_no_more_than_a_hundred_faults_are_listed(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [150, 150])
    path.write_bytes(path.read_bytes().replace(b'"GPU"', b'"CPU"'))

    found = verified(path)

    assert (len(found.faults), found.entries, found.blocks) == (100, 0, 0)


def test_progress_is_told_after_each_block(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [2, 3])
    told: list[tuple[int, int]] = []

    verify_file(read_lines(path), schnorr_check, progress=lambda entries, size: told.append((entries, size)))

    assert [entries for entries, _ in told] == [2, 5]
    assert told[-1][1] == path.stat().st_size


def test_a_report_is_plain_json(tmp_path: Path) -> None:
    path = a_ledger_file(tmp_path, [2])
    path.write_bytes(path.read_bytes().replace(b'"GPU"', b'"CPU"', 1))

    report = verified(path).as_json()

    assert (report["ok"], report["entries"], report["blocks"]) == (False, 0, 0)
    assert report["faults"] == [
        {"offset": 0, "line": 1, "entry": 0, "block": 0, "reason": "the entry was changed after it was signed"}
    ]


def test_a_ledger_in_use_verifies_while_it_grows(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for _ in range(3):
            take(ledger, 5)
            ledger.seal()
            take(ledger, 1)
            found = ledger.verify()
            assert (found.ok, found.entries) == (True, ledger.size)
