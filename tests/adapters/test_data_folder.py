"""One folder, one process, one owner."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from conductor.adapters.data_folder import DataFolder, DataPaths, RunningServer, running_server
from conductor.domain.errors import Conflict, StorageError

ME = os.getuid()
URL = "http://127.0.0.1:8000"

#: Another process that claims the folder, says so, and lives until its input ends.
OTHER = """
import os, sys
from pathlib import Path
from conductor.adapters.data_folder import DataFolder
folder = DataFolder.open(Path(sys.argv[1]), user_id=os.getuid())
folder.announce("http://127.0.0.1:8000")
print("claimed", flush=True)
sys.stdin.read()
"""


def other_server(root: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    return process


def test_a_new_folder_is_private_and_complete(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    folder = DataFolder.open(root, user_id=ME)
    assert root.stat().st_mode & 0o777 == 0o700
    assert folder.paths.tasks.is_dir()
    assert folder.paths.lock.stat().st_mode & 0o077 == 0
    folder.close()


def test_a_second_server_is_told_who_uses_the_folder_and_what_to_do(tmp_path: Path) -> None:
    process = other_server(tmp_path / "data")
    try:
        with pytest.raises(Conflict) as refused:
            DataFolder.open(tmp_path / "data", user_id=ME)
        assert f"pid {process.pid}, {URL}" in refused.value.message
        assert "--data-dir" in refused.value.message
        assert refused.value.details == {"pid": process.pid, "url": URL}
        assert running_server(tmp_path / "data") == RunningServer(process.pid, URL)
    finally:
        process.kill()
        process.communicate()


def test_a_killed_server_leaves_the_folder_free(tmp_path: Path) -> None:
    process = other_server(tmp_path / "data")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert running_server(tmp_path / "data") is None
    DataFolder.open(tmp_path / "data", user_id=ME).close()


def test_within_one_process_too_a_folder_has_one_user(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path, user_id=ME)
    with pytest.raises(Conflict):
        DataFolder.open(tmp_path, user_id=ME)
    folder.close()
    folder.close()
    DataFolder.open(tmp_path, user_id=ME).close()


def test_a_server_is_known_from_its_claim_and_forgotten_when_it_closes(tmp_path: Path) -> None:
    assert running_server(tmp_path / "data") is None
    folder = DataFolder.open(tmp_path / "data", user_id=ME)
    assert running_server(tmp_path / "data") == RunningServer(os.getpid(), None)
    folder.announce(URL)
    assert running_server(tmp_path / "data") == RunningServer(os.getpid(), URL)
    folder.close()
    assert running_server(tmp_path / "data") is None


def test_a_stale_file_is_not_believed_even_if_a_process_has_that_id(tmp_path: Path) -> None:
    DataPaths(tmp_path).lock.write_bytes(orjson.dumps({"pid": os.getpid(), "url": URL}) + b"\n")
    assert running_server(tmp_path) is None
    DataFolder.open(tmp_path, user_id=ME).close()


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": -1, "url": null}\n', b'{"pid": "x"}\n', b"\xff\n", b"[]\n"])
def test_a_damaged_lock_file_hinders_nobody(tmp_path: Path, content: bytes) -> None:
    DataPaths(tmp_path).lock.write_bytes(content)
    assert running_server(tmp_path) is None
    DataFolder.open(tmp_path, user_id=ME).close()


def test_the_node_keeps_its_identity(tmp_path: Path) -> None:
    first = DataFolder.open(tmp_path / "a", user_id=ME)
    first.close()
    again = DataFolder.open(tmp_path / "a", user_id=ME)
    again.close()
    other = DataFolder.open(tmp_path / "b", user_id=ME)
    other.close()
    assert first.node_id == again.node_id != other.node_id


def test_a_damaged_identity_is_told_and_leaves_the_folder_free(tmp_path: Path) -> None:
    DataFolder.open(tmp_path, user_id=ME).close()
    DataPaths(tmp_path).node_id.write_text("n12\n")
    for _ in range(2):
        with pytest.raises(StorageError, match="holds no node id"):
            DataFolder.open(tmp_path, user_id=ME)


def test_an_open_folder_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    DataFolder.open(tmp_path, user_id=ME).close()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"belongs to user {ME}, not to user {ME + 1}"):
        DataFolder.open(tmp_path, user_id=ME + 1)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        DataFolder.open(tmp_path / "file", user_id=ME)
    with pytest.raises(StorageError, match="cannot be used"):
        DataFolder.open(tmp_path / "file" / "below", user_id=ME)
    assert running_server(tmp_path / "file") is None
