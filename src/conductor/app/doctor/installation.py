"""How an installation itself fares: Python, data folder, key, port, ledger, weights, confinement, drivers, clocks.

Works without a server and changes nothing: what has to be tried (a file in the data folder, a port, a namespace) is undone
at once. A ledger beyond a size is left to `conductor ledger verify`.
"""

import ctypes
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_IMODE
from typing import Final

from conductor import adapters
from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.installed import Driver, drivers
from conductor.adapters.intent_reader.reader import LinearIntentReader
from conductor.adapters.local_processes.facts import works
from conductor.adapters.model_card import read_card, verify
from conductor.adapters.sensors.filesystems import free_bytes
from conductor.app.doctor.check import Check, Verdict
from conductor.app.doctor.models import check_packages
from conductor.app.installation import Installation
from conductor.app.serving.programs import REMEDIES, install_line, installed_programs
from conductor.app.verification import verify_ledger
from conductor.domain.errors import ConductorError, StorageError
from conductor.domain.server_program import ServerProgram
from conductor.domain.units import GIB, MIB, format_bytes
from conductor.serving.requirements import ExtraNeed

_LEAST_PYTHON: Final = (3, 11)
_LEAST_DISK_BYTES: Final = GIB
_QUICK_LEDGER_BYTES: Final = 32 * MIB
#: 2025-01-01: a clock before that was never set.
_EARLIEST_UNIX_S: Final = 1_735_689_600.0
_UNSYNCHRONISED: Final = 5  # TIME_ERROR of adjtimex(2)
_SHIPPED: Final = ("encoder_onnx", "mind_llama")


def check_installation(installation: Installation, *, now_unix_s: float) -> list[Check]:
    """Everything, in the order in which a start needs it; takes seconds at most."""
    return [
        _python(),
        *_data_folder(installation),
        *_database(installation),
        _key(installation),
        _port(installation),
        _ledger(installation),
        *_weights(),
        *_confinement(),
        *map(_driver, drivers(environ=installation.around.environ)),
        *_programs(installation.around.environ),
        _clock(now_unix_s),
    ]


def _check(
    need: str, good: bool, *, found: str, wanted: str = "", remedy: str = "", command: str = "",
    otherwise: Verdict = Verdict.WRONG,
) -> Check:  # fmt: skip
    return Check(
        about="installation",
        need=need,
        found=found,
        wanted=wanted,
        verdict=Verdict.OK if good else otherwise,
        remedy="" if good else remedy,
        command="" if good else command,
    )


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return _check("Python", sys.version_info >= _LEAST_PYTHON, found=found, wanted="3.11 or later",
                  remedy="make a virtual environment with a later Python and install Conductor into it")  # fmt: skip


def _data_folder(installation: Installation) -> Iterator[Check]:
    folder = installation.data_dir
    there = next(each for each in (folder, *folder.parents) if _exists(each))
    try:
        with tempfile.TemporaryFile(dir=there):
            problem = ""
    except OSError as failure:
        problem = failure.strerror or str(failure)
    yield _check("data folder", not problem, found=problem or (str(folder) if there == folder else f"{folder} can be made"),
                 wanted="writable", remedy=f"{there} cannot be written; choose another with --data-dir")  # fmt: skip
    free = free_bytes(str(there)) or 0
    yield _check("free disk", free >= _LEAST_DISK_BYTES, found=format_bytes(free), wanted="at least 1.0 GiB",
                 remedy=f"make room in the file system of {there}")  # fmt: skip


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # a folder above it is closed to us; writing will tell
        return False


def _database(installation: Installation) -> Iterator[Check]:
    url = installation.settings.database_url
    if url is None or not url.get_secret_value().startswith("postgres"):
        return
    yield from check_packages(
        "installation",
        ExtraNeed(extra="postgres", why="speaks to the database that database_url names", essential=True),
    )


def _key(installation: Installation) -> Check:
    path = installation.paths.access_key
    try:
        made = installation.read_key() is not None
        mode = f"mode {S_IMODE(path.stat().st_mode):04o}" if made else "none yet; the first start makes one"
    except (ConductorError, OSError) as wrong:
        reason = wrong.message if isinstance(wrong, ConductorError) else str(wrong)
        return _check(
            "key", False, found="cannot be used", wanted="mode 0600", remedy=reason, command=f"chmod 600 {path}"
        )
    return _check("key", True, found=mode, wanted="mode 0600")


def _port(installation: Installation) -> Check:
    server = installation.settings.server
    running = installation.running_server()
    wanted = f"{server.host}:{server.port} free"
    if running is not None:
        return _check("port", True, found=f"our server listens (pid {running.pid})", wanted=wanted)
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((server.host.strip("[]"), server.port))
            listener.listen()
        except OSError as taken:
            return _check("port", False, found=taken.strerror or str(taken), wanted=wanted,
                          remedy="end what listens there, or take another: `conductor serve --port 0`")  # fmt: skip
    return _check("port", True, found="free", wanted=wanted)


def _ledger(installation: Installation) -> Check:
    path = installation.paths.ledger
    try:
        size = path.stat().st_size
    except OSError:
        return _check("ledger", True, found="none yet", wanted="verifies")
    if size > _QUICK_LEDGER_BYTES:
        return _check("ledger", False, found=f"{format_bytes(size)}, not read", wanted="verifies", otherwise=Verdict.NOTE,
                      remedy="too large for a quick look", command="conductor ledger verify")  # fmt: skip
    try:
        found = verify_ledger(path)
    except ConductorError as unreadable:
        return _check("ledger", False, found="cannot be read", wanted="verifies", remedy=unreadable.message)
    if found.ok and found.growing_bytes and installation.running_server() is None:
        return _check("ledger", False, found=f"{found.entries:,} entries", wanted="verifies", otherwise=Verdict.NOTE,
                      remedy=f"the last {found.growing_bytes:,} bytes are unfinished, as a crash leaves them; the next "
                      "start sets them aside")  # fmt: skip
    return _check("ledger", found.ok, found=f"{found.entries:,} entries", wanted="verifies",
                  remedy="; ".join(map(str, found.faults)), command="conductor ledger verify")  # fmt: skip


def _weights() -> Iterator[Check]:
    for name in _SHIPPED:
        folder = Path(adapters.__path__[0]) / name
        try:
            digests = read_card(folder, ()).facts.get("sha256")
            card = read_card(folder, tuple(digests) if isinstance(digests, dict) else ())
            verify(folder, card)
        except StorageError as damaged:
            yield _weight(name, damaged)
        else:
            yield _weight(name, card.name)
    try:
        LinearIntentReader(OnnxEncoder()).read(["which tasks wait?"])
    except StorageError as damaged:  # its own weights, or an encoder that they were not made for
        yield _weight("intent_reader", damaged)
    else:
        yield _weight("intent_reader", "made for this encoder")


def _weight(name: str, found: str | StorageError) -> Check:
    if isinstance(found, str):
        return _check(f"weights {name}", True, found=found, wanted="as its card says")
    return _check(f"weights {name}", False, found="damaged or missing", wanted="as its card says", remedy=found.message)


def _confinement() -> Iterator[Check]:
    ways = ["root", "user"] if os.geteuid() == 0 else ["user"]
    way = next((way for way in ways if works(namespaces=way, network="namespace")), "")
    yield _check("namespaces", bool(way), found=way or "refused", wanted="tasks see only their own processes",
                 otherwise=Verdict.NOTE,
                 remedy="tasks run without; a container or security module refuses them")  # fmt: skip
    yield _check("call filter", works(namespaces="", network="filter"), found="tried", wanted="seccomp",
                 otherwise=Verdict.WRONG if not way else Verdict.NOTE,
                 remedy="without namespaces too, tasks that may not use the network cannot be kept from it")  # fmt: skip
    group = _own_group()
    yield _check("control groups", group is not None and os.access(group, os.W_OK), found=str(group or "not mounted"),
                 wanted="writable", otherwise=Verdict.NOTE,
                 remedy="memory is bounded per process instead; deploy/conductor.service has them delegated")  # fmt: skip


def _own_group() -> Path | None:
    """The folder of the control group that this process is in; version 1 is asked for its memory controller."""
    root = Path("/sys/fs/cgroup")
    wanted, base = ("", root) if (root / "cgroup.controllers").exists() else ("memory", root / "memory")
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    own = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
    inherited = base / own.get(wanted, "").lstrip("/")
    return next((folder for folder in (inherited, base) if folder.is_dir()), None)


def _driver(driver: Driver) -> Check:
    found = f"module {driver.module or 'not loaded'}, library {driver.library or 'missing'}"
    need = f"{driver.maker} driver"
    if not driver.module:
        return _check(need, False, found=found, wanted="loaded", otherwise=Verdict.NOTE,
                      remedy="the card is not used; install its driver and restart the machine")  # fmt: skip
    if driver.maker == "NVIDIA" and driver.library not in ("unknown", driver.module):
        return _check(need, False, found=found, wanted="both of one version",
                      remedy="restart the machine after an update of the driver; in a container, hand the driver in "
                      "(`--gpus all`)")  # fmt: skip
    return _check(need, True, found=found, wanted="loaded")


def _programs(environ: Mapping[str, str]) -> Iterator[Check]:
    """The server programs of others that models could be run by; nothing needs them that does not ask for them."""
    installed = installed_programs(environ)
    for program in ServerProgram:
        found = installed.get(program)
        yield _check(program.value, found is not None, found=str(found or "not on the PATH"), wanted="to serve models by it",
                     otherwise=Verdict.NOTE, remedy=REMEDIES[program], command=install_line(program, environ))  # fmt: skip


def _clock(now_unix_s: float) -> Check:
    if now_unix_s < _EARLIEST_UNIX_S:
        return _check("clock", False, found="in the past", wanted="the time", remedy="set the clock: records carry its time",
                      command="timedatectl set-ntp true")  # fmt: skip
    good = _is_synchronised()
    return _check("clock", good, found="synchronised" if good else "not said to be synchronised", wanted="synchronised",
                  otherwise=Verdict.NOTE, remedy="times of several machines may not agree",
                  command="timedatectl set-ntp true")  # fmt: skip


def _is_synchronised() -> bool:
    """What the kernel says (adjtimex(2) that changes nothing); a system without that call says no."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except (AttributeError, OSError):
        return False
    return 0 <= state < _UNSYNCHRONISED
