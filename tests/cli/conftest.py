"""A server that all tests of this folder share, and terminals on it and on folders of their own."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.terminal import PATIENCE_S, Terminal


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal on an installation whose server runs."""
    root = tmp_path_factory.mktemp("served")
    terminal = Terminal(data_dir=root / "data", here=root)
    server = terminal.start("serve", "--port", "0", "--log-level", "warning")
    assert server.stdout is not None
    assert server.stdout.readline().startswith("Conductor serves http://127.0.0.1:")
    yield terminal
    server.send_signal(signal.SIGTERM)
    assert server.wait(PATIENCE_S) == 0


@pytest.fixture
def alone(tmp_path: Path) -> Terminal:
    """A terminal on a fresh installation without a server."""
    return Terminal(data_dir=tmp_path / "data", here=tmp_path)
