"""The key, its file, one-time logins and sessions."""

import os
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.adapters.access_key import LOGIN_VALID_S, SESSION_VALID_S, AccessKey, read_key, rotate_key
from conductor.adapters.private_file import create_private, replace_private
from conductor.domain.errors import StorageError

ME = os.getuid()


class SetClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now_unix_s(self) -> float:
        return 1_700_000_000 + self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def load(path: Path, clock: SetClock) -> AccessKey:
    return AccessKey.load_or_create(path, clock=clock, user_id=ME)


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "key"
    load(path, clock)
    text = read_key(path, user_id=ME)
    assert text is not None
    assert text.startswith("ck_")
    assert len(text) == 46
    assert path.stat().st_mode & 0o777 == 0o600
    again = load(path, clock)
    assert again.matches(text)
    assert text not in repr(vars(again))
    assert list(tmp_path.iterdir()) == [path]


@given(candidate=st.text())
def test_nothing_else_is_the_key(candidate: str) -> None:
    key = AccessKey("ck_" + "x" * 43, Path("unused"), clock=SetClock())
    assert not key.matches(candidate)
    assert not key.is_session(candidate)
    assert key.redeem(candidate) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_could_read_or_change_is_refused_with_the_remedy(
    tmp_path: Path, clock: SetClock, mode: int
) -> None:
    path = tmp_path / "key"
    load(path, clock)
    path.chmod(mode)
    with pytest.raises(StorageError, match=r"can be read or changed by others.*chmod 600"):
        load(path, clock)


def test_a_key_of_somebody_else_is_refused(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "key"
    load(path, clock)
    with pytest.raises(StorageError, match=f"belongs to user {ME}, not to user {ME + 1}"):
        read_key(path, user_id=ME + 1)


@pytest.mark.parametrize("content", [b"", b"\n", b"ck_short\n", b"\xff\xff", b"password\n", b"ck_" + b" " * 43])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, clock: SetClock, content: bytes) -> None:
    create_private(tmp_path / "key", content)
    with pytest.raises(StorageError, match="holds no key"):
        load(tmp_path / "key", clock)


def test_a_folder_in_place_of_the_key_is_refused(tmp_path: Path, clock: SetClock) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        load(tmp_path / "key", clock)


def test_a_key_that_cannot_be_written_says_so(tmp_path: Path, clock: SetClock) -> None:
    with pytest.raises(StorageError, match="cannot be made"):
        load(tmp_path / "absent" / "key", clock)


def test_a_login_opens_one_session_once(tmp_path: Path, clock: SetClock) -> None:
    key = load(tmp_path / "key", clock)
    token = key.issue_login()
    session = key.redeem(token)
    assert session is not None
    assert key.is_session(session)
    assert key.redeem(token) is None


def test_a_login_is_good_for_ten_minutes(tmp_path: Path, clock: SetClock) -> None:
    key = load(tmp_path / "key", clock)
    early, late = key.issue_login(), key.issue_login()
    clock.at_s += LOGIN_VALID_S - 1
    assert key.redeem(early) is not None
    clock.at_s += 1
    assert key.redeem(late) is None


def test_a_session_survives_a_restart_and_ends_in_time(tmp_path: Path, clock: SetClock) -> None:
    first = load(tmp_path / "key", clock)
    session = first.redeem(first.issue_login())
    assert session is not None
    restarted = load(tmp_path / "key", clock)
    clock.at_s += SESSION_VALID_S - 1
    assert restarted.is_session(session)
    clock.at_s += 1
    assert not restarted.is_session(session)


def test_a_session_with_any_byte_changed_is_none(tmp_path: Path, clock: SetClock) -> None:
    key = load(tmp_path / "key", clock)
    session = key.redeem(key.issue_login())
    assert session is not None
    for at, letter in enumerate(session):
        changed = session[:at] + ("A" if letter != "A" else "B") + session[at + 1 :]
        assert not key.is_session(changed), at


def test_rotation_ends_the_key_its_sessions_and_its_logins(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "key"
    key = load(path, clock)
    old, session, login = read_key(path, user_id=ME), key.redeem(key.issue_login()), key.issue_login()
    assert old is not None
    assert session is not None
    new = key.rotate()
    assert key.matches(new)
    assert read_key(path, user_id=ME) == new
    assert not key.matches(old)
    assert not key.is_session(session)
    assert key.redeem(login) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_rotation_that_fails_keeps_the_old_key(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "folder" / "key"
    path.parent.mkdir()
    key = load(path, clock)
    old = read_key(path, user_id=ME)
    assert old is not None
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(StorageError):
        key.rotate()
    assert key.matches(old)


def test_the_key_can_be_rotated_while_no_server_runs(tmp_path: Path, clock: SetClock) -> None:
    assert load(tmp_path / "key", clock).matches("x") is False
    new = rotate_key(tmp_path / "key")
    assert load(tmp_path / "key", clock).matches(new)


def test_unused_logins_do_not_pile_up(clock: SetClock) -> None:
    numbers = count()
    key = AccessKey("ck_x", Path("unused"), clock=clock, random_bytes=lambda size: next(numbers).to_bytes(size))
    tokens = [key.issue_login() for _ in range(150)]
    assert sum(key.redeem(token) is not None for token in tokens) == 100
    assert key.redeem(tokens[0]) is None


def test_what_is_there_is_not_made_again_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert create_private(path, b"first")
    assert not create_private(path, b"second")
    assert path.read_bytes() == b"first"
    replace_private(path, b"third")
    assert path.read_bytes() == b"third"
    assert list(tmp_path.iterdir()) == [path]
