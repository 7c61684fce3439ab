"""What systemd would hear on its socket: real datagrams, to a path and to an abstract name."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.adapters.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager_socket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The address as `$NOTIFY_SOCKET` has it, and the socket that receives."""
    name = f"@conductor-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        receiver.settimeout(5)
        yield name, receiver


def test_each_message_is_one_datagram_of_assignments(manager_socket: tuple[str, socket.socket]) -> None:
    address, receiver = manager_socket
    manager = ServiceManager.of({"NOTIFY_SOCKET": address}, pid=7)

    manager.ready("Serving http://127.0.0.1:8000")
    manager.status("database: the disk\nREADY=0")
    manager.alive()
    manager.reloading(now_s=12.5)
    manager.stopping("Stopping")

    assert [receiver.recv(4096).decode() for _ in range(5)] == [
        "READY=1\nSTATUS=Serving http://127.0.0.1:8000",
        "STATUS=database: the disk READY=0",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "STOPPING=1\nSTATUS=Stopping",
    ]


@pytest.mark.parametrize(
    ("environ", "expected_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_the_one_set_for_this_process(environ: dict[str, str], expected_s: float | None) -> None:
    assert ServiceManager.of({"NOTIFY_SOCKET": "/run/notify", **environ}, pid=7).watchdog_s == expected_s


@pytest.mark.parametrize("address", ["", "notify", "vsock:2:1"])
def test_without_a_socket_that_can_be_used_nobody_listens(address: str) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}, pid=7)

    assert not manager.listens
    assert manager.watchdog_s is None
    manager.ready("nobody hears this")


def test_a_manager_that_is_gone_or_does_not_read_harms_nobody(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    manager = ServiceManager(address)
    manager.alive()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        for _ in range(2000):  # far more than a socket that nobody reads holds
            manager.alive()

        assert receiver.recv(64) == b"WATCHDOG=1"
