"""What a task sees of the server's environment, and where its executables are looked for."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: Names that say where things are and how to speak, never keys. `CONDUCTOR_*` is not among them on purpose.
# fmt: off
PASSED_ON: Final = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
    "OMP_NUM_THREADS", "XDG_CACHE_HOME", "HF_HOME", "SSL_CERT_FILE",
})
# fmt: on


def task_environment(server: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """The allowed part of the server's environment, then what the task asks for.

    The folder of our own interpreter ends PATH, so that tools installed beside the product are found.
    """
    passed = {name: value for name, value in server.items() if name in PASSED_ON or name.startswith("LC_")}
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", **passed, **wanted}
    environment["PATH"] = os.pathsep.join([environment["PATH"], str(Path(sys.executable).parent)])
    return environment


def find_executable(program: str, *, directory: Path, environment: Mapping[str, str]) -> Path | None:
    """What would be executed: a path (relative ones start at `directory`) or a name on PATH; None if nothing."""
    if os.sep in program:
        path = directory / program
        return path if path.is_file() and os.access(path, os.X_OK) else None
    found = shutil.which(program, path=environment["PATH"])
    return None if found is None else Path(found)
