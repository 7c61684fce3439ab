"""Attached files are kept by content, for who sent them, for as long as they are needed; read in a confined process."""

import hashlib
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attachments.making import image_file, photo_pixels, tone, wav_file

from conductor.adapters.attachments.confined import ConfinedReader
from conductor.adapters.attachments.folder import AttachmentFolder
from conductor.adapters.attachments.measuring import measure
from conductor.adapters.attachments.reading import read_headers
from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.domain.attachment import Attachment, check_file_name
from conductor.domain.errors import InvalidInput, NotFound, StorageError
from conductor.domain.task import Submission, UserId

SOURCE = str(Path(__file__).parents[2] / "src")
ANA, BEN = UserId("ana"), UserId("ben/../etc")


def kept(folder: AttachmentFolder, content: bytes, user: UserId = ANA, *, most_bytes: int = 1000) -> Attachment:
    with folder.incoming(most_bytes=most_bytes) as incoming:
        incoming.write(content)
        digest = incoming.finish()
        reading = read_headers(incoming.path)
        attachment = reading.attachment(
            attachment_id=digest, name="a.txt", size_bytes=len(content), claimed="image/png"
        )
        folder.keep(incoming, attachment, user)
    return attachment


def test_a_file_is_found_by_its_digest_and_private(tmp_path: Path) -> None:
    folder = AttachmentFolder(tmp_path / "attachments", total_bytes=10_000)
    sent = kept(folder, b"some words")

    assert sent.attachment_id == hashlib.sha256(b"some words").hexdigest()
    assert sent.notes == ("it was sent as image/png, but its content is text/plain",)
    assert folder.find(sent.attachment_id, ANA, now_unix_s=1e9) == sent
    assert folder.path(sent.attachment_id).read_bytes() == b"some words"
    for path in (tmp_path / "attachments").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert not list((tmp_path / "attachments").glob(".incoming-*"))


def test_another_users_file_does_not_exist_for_oneself(tmp_path: Path) -> None:
    folder = AttachmentFolder(tmp_path, total_bytes=10_000)
    sent = kept(folder, b"secret", ANA)

    with pytest.raises(NotFound):
        folder.find(sent.attachment_id, BEN, now_unix_s=0)
    assert kept(folder, b"secret", BEN) == sent
    assert folder.find(sent.attachment_id, BEN, now_unix_s=0) == sent


@given(attachment_id=st.text(max_size=80))
def test_no_text_as_id_reaches_anything(tmp_path_factory: pytest.TempPathFactory, attachment_id: str) -> None:
    folder = AttachmentFolder(tmp_path_factory.getbasetemp() / "none", total_bytes=100)

    for wrong in (attachment_id, f"../../{attachment_id}", "a" * 64):
        with pytest.raises(NotFound):
            folder.find(wrong, ANA, now_unix_s=0)
        with pytest.raises(NotFound):
            folder.path(wrong)


def test_bounds_are_kept_and_what_is_refused_leaves_nothing(tmp_path: Path) -> None:
    folder = AttachmentFolder(tmp_path, total_bytes=20)
    with pytest.raises(InvalidInput, match="empty"):
        kept(folder, b"")
    with pytest.raises(InvalidInput, match=r"attachments\.max_bytes"):
        kept(folder, bytes(11), most_bytes=10)
    kept(folder, bytes(15))
    kept(folder, bytes(15))
    with pytest.raises(StorageError, match=r"attachments\.total_bytes"):
        kept(folder, b"x" * 15)
    assert [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ""] == [15]


def test_old_files_go_unless_an_open_task_needs_them(tmp_path: Path) -> None:
    folder = AttachmentFolder(tmp_path, total_bytes=1000)
    old, used, needed = kept(folder, b"old"), kept(folder, b"used"), kept(folder, b"needed")
    for each in (old, used, needed):
        folder.find(each.attachment_id, ANA, now_unix_s=100.0)
    folder.find(used.attachment_id, ANA, now_unix_s=5000.0)

    assert folder.sweep(before_unix_s=1000.0, in_use={needed.attachment_id}) == 1
    with pytest.raises(NotFound):
        folder.path(old.attachment_id)
    assert folder.path(used.attachment_id).read_bytes() == b"used"
    assert folder.path(needed.attachment_id).read_bytes() == b"needed"
    assert folder.sweep(before_unix_s=1000.0, in_use=set()) == 1


def test_room_is_counted_again_at_the_next_start(tmp_path: Path) -> None:
    kept(AttachmentFolder(tmp_path, total_bytes=20), bytes(15))
    (tmp_path / ".incoming-left").write_bytes(b"cut off")
    folder = AttachmentFolder(tmp_path, total_bytes=20)

    with pytest.raises(StorageError):
        kept(folder, b"x" * 15)
    assert not (tmp_path / ".incoming-left").exists()


@pytest.mark.parametrize(
    "name", ["", "../a", "/etc/passwd", "a/b", "a\\b", "..", ".hidden", "a\nb", "a\0", "x" * 201, "é" * 150, "\ud800"]
)
def test_names_that_are_paths_or_worse_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_file_name(name)


def test_a_task_takes_each_name_once_and_a_bounded_number(tmp_path: Path) -> None:
    one = kept(AttachmentFolder(tmp_path, total_bytes=100), b"x")
    with pytest.raises(InvalidInput, match="two attachments are called"):
        Submission(description="a", attachments=(one, one))
    with pytest.raises(InvalidInput, match="at most 16"):
        Submission(description="a", attachments=(one,) * 17)


@pytest.mark.anyio
async def test_the_confined_reader_finds_what_reading_here_finds(tmp_path: Path, processes: LocalProcesses) -> None:
    reader = ConfinedReader(processes, import_path=[SOURCE])
    for path in (
        image_file(tmp_path / "a.jpg", photo_pixels(), quality=90),
        wav_file(tmp_path / "a.wav", tone()),
        tmp_path / "a.wav.txt",
    ):
        if not path.exists():
            path.write_text("words")
        assert await reader.read(path) == measure(path)
    assert not list((tmp_path / "tasks").glob("*"))


@pytest.mark.anyio
async def test_a_decoder_that_cannot_run_leaves_the_headers(tmp_path: Path, processes: LocalProcesses) -> None:
    broken = tmp_path / "broken" / "conductor" / "adapters" / "attachments"
    broken.mkdir(parents=True)
    for folder in (broken, broken.parent, broken.parent.parent):
        (folder / "__init__.py").write_text("")
    path = image_file(tmp_path / "a.png", photo_pixels())
    endings = {
        "import os; os.abort()": "ended by signal",
        "raise SystemExit(3)": "ended by exit_code",
        "x = bytearray(3 << 30); x[::4096] = b'a' * len(x[::4096])": "ended by",
        "import os; os.write(int(os.environ['CONDUCTOR_RESULT_FD']), b'{\"medium\": 7}')": "made no sense",
    }
    for program, told in endings.items():
        (broken / "worker.py").write_text(program)
        found = await ConfinedReader(processes, import_path=[str(tmp_path / "broken")]).read(path)
        assert told in found.notes[0], program
        assert found.sizes == {"pixels": 76_800.0}
