"""Speak to the service manager that started this process: systemd's notification protocol, one datagram a message.

Without `$NOTIFY_SOCKET` nothing is sent. A manager that does not listen never harms the server: what cannot be sent is
left unsent. When to say what is decided by `app.supervised`.

Covered: sockets in the file system and in the abstract name space. Not covered: file descriptors, vsock.
Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import socket
from collections.abc import Mapping
from typing import Final, Self

_MICROSECONDS: Final = 1_000_000
_LONGEST_STATUS: Final = 400


class ServiceManager:
    """Sends messages to one socket.

    Args:
        address: path of the socket, or a name that begins with `@`; empty where there is no manager.
        watchdog_s: the process is ended when it has not said `alive` for so long; None where nobody watches.
    """

    def __init__(self, address: str = "", *, watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def of(cls, environ: Mapping[str, str], *, pid: int) -> Self:
        """The manager that the environment names; what it says for another process is not for this one."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        return cls(address, watchdog_s=_watchdog_s(environ, pid))

    @property
    def listens(self) -> bool:
        """Whether there is one."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The server can be used, for the first time or again after `reloading`."""
        self._send("READY=1", _status(status))

    def status(self, status: str) -> None:
        """How the server fares, in words for people."""
        self._send(_status(status))

    def reloading(self, *, now_s: float) -> None:
        """Settings are being read again; `ready` must follow. `now_s` is of the system's monotonic clock."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={round(now_s * _MICROSECONDS)}")

    def stopping(self, status: str) -> None:
        """The server ends; nothing comes after it."""
        self._send("STOPPING=1", _status(status))

    def alive(self) -> None:
        """The watchdog may wait again."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)  # a manager that hangs must not hang the event loop
                channel.connect(self._address)
                channel.send("\n".join(assignments).encode())
        except OSError:
            return


def _status(text: str) -> str:
    """One line: a line break in it would begin another assignment."""
    return f"STATUS={' '.join(text.split())[:_LONGEST_STATUS]}"


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    microseconds = int(text) if text.isascii() and text.isdecimal() else 0
    return microseconds / _MICROSECONDS if microseconds else None
