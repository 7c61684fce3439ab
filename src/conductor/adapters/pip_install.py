"""Install Python packages with the pip of our own interpreter; what it prints goes to the user as it comes.

Decides nothing about what is installed. Why pip failed is read from its last words, so that people are told plainly.
"""

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from conductor.domain.errors import ConductorError

_NOT_REACHED: Final = (
    "Failed to establish a new connection", "Temporary failure in name resolution", "Name or service not known",
    "Connection refused", "NewConnectionError", "ConnectTimeoutError", "ProxyError", "Network is unreachable",
    "SSLError", "Max retries exceeded", "Read timed out",
)  # fmt: skip
_LAST_LINES: Final = 60


class InstallFailed(ConductorError):
    """pip did not install what it was asked to."""

    code = "install"


def pip_command(requirements: Sequence[str]) -> list[str]:
    """What is run, argument by argument."""
    return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *requirements]


def install(requirements: Sequence[str], *, environ: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Run pip to its end; blocking, as long as downloads take.

    Raises:
        InstallFailed: there is no pip, no index can be reached, or pip says why not.
    """
    last = deque[str](maxlen=_LAST_LINES)
    try:
        with subprocess.Popen(
            pip_command(requirements),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                last.append(line.rstrip("\n"))
                tell(last[-1])
    except OSError as failure:
        raise InstallFailed(f"pip cannot be started: {failure.strerror or failure}") from failure
    if process.returncode:
        raise InstallFailed(_reason(list(last), process.returncode))


def _reason(lines: Sequence[str], code: int) -> str:
    text = "\n".join(lines)
    if "No module named pip" in text:
        return f"this Python has no pip; `{sys.executable} -m ensurepip` installs it"
    if any(words in text for words in _NOT_REACHED):
        return (
            "pip cannot reach a package index; connect this machine, name an index that it reaches with PIP_INDEX_URL, "
            "or a folder of wheels with PIP_FIND_LINKS and PIP_NO_INDEX=1"
        )
    if "(from versions: none)" in text:
        missing = text.partition("No matching distribution found for ")[2].partition("\n")[0]
        return (
            f"no index that pip asked offers {missing or 'it'}; see that it is reached, or name another: PIP_INDEX_URL"
        )
    if "externally-managed-environment" in text:
        return "this Python belongs to the operating system; install Conductor into a virtual environment of its own"
    said = next((line for line in reversed(lines) if line.startswith("ERROR:")), "")
    return f"pip ended with code {code}; {said.removeprefix('ERROR:').strip() or 'its words are above'}"
