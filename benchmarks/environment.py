"""The environment of the peers: their packages in `.venv-peers`, a private Redis server.

Peers are installed apart from the product, from pinned versions, once per change of the pins. Redis comes from the
system; where it is missing and this is a Debian machine and we are its superuser, it is installed.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.harness import ROOT, CannotRun
from benchmarks.processes import finish, free_port, running

ENVIRONMENT: Final = ROOT / ".venv-peers"
REQUIREMENTS: Final = Path(__file__).parent / "requirements-peers.txt"
GATEWAYS: Final = ENVIRONMENT / "gateway"
GATEWAY_REQUIREMENTS: Final = Path(__file__).parent / "requirements-gateways.txt"
SCRIPTS: Final = Path(__file__).parent / "peers"
INSTALL_WITHIN_S: Final = 1800.0

#: Redis keeps an append-only file and syncs it every second, the setting its documentation recommends for durability.
#: A power cut may lose up to a second of accepted tasks; ours syncs every group of commits before it accepts them.
REDIS_DURABILITY: Final = "AOF, fsync every second"


def peer_program(name: str) -> str:
    """The path of a program in the peers' environment, which is made first if need be."""
    _install(ENVIRONMENT, REQUIREMENTS)
    return str(ENVIRONMENT / "bin" / name)


def gateway_program(name: str) -> str:
    """The same for the gateways, which pin what other peers need in other versions."""
    _install(GATEWAYS, GATEWAY_REQUIREMENTS)
    return str(GATEWAYS / "bin" / name)


def peer_version(package: str) -> str:
    """The version that is pinned, such as `5.7.0`."""
    for pins in (REQUIREMENTS, GATEWAY_REQUIREMENTS):
        for line in pins.read_text(encoding="utf-8").splitlines():
            name, _, version = line.partition("==")
            if name.partition("[")[0] == package:
                return version.strip()
    raise LookupError(package)


def _install(environment: Path, requirements: Path) -> None:
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = environment / "installed-requirements"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return
    print(f"installing the peers into {environment.relative_to(ROOT)} …", flush=True)
    python = str(environment / "bin" / "python")
    if not Path(python).exists():
        finish([sys.executable, "-m", "venv", str(environment)], within_s=INSTALL_WITHIN_S)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    finish([*pip, "--requirement", str(requirements)], within_s=INSTALL_WITHIN_S)
    stamp.write_text(digest, encoding="utf-8")


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A Redis server of our own on a free port with an empty data folder; gives its URL."""
    program, port = _redis_program(), free_port()
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as data:
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", data, "--save", ""]
        with running([*command, "--appendonly", "yes", "--appendfsync", "everysec"]) as server:
            server.wait_for_words("Ready to accept connections")
            yield f"redis://127.0.0.1:{port}/0"


def _redis_program() -> str:
    found = shutil.which("redis-server")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing redis-server …", flush=True)
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        finish(["apt-get", "update", "-qq"], environment=quiet)
        finish(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "redis-server"], environment=quiet)
        found = shutil.which("redis-server")
    if found is None:
        raise CannotRun(
            "redis-server is not installed and the peers need it; install it, e.g. `apt install redis-server`"
        )
    return found
