"""What loading models really took is known after a restart; a file that is of no use costs a warning and nothing else."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.serving.simulated import LoopClock

from conductor.adapters.document_folder import DocumentFolder
from conductor.app.serving.kept_corrections import KeptCorrections
from conductor.domain.model import Category, ModelName, ModelState, Precision
from conductor.domain.units import GIB
from conductor.serving.lifetimes.memory_budget import Corrections
from conductor.serving.ports import MemoryNeed
from conductor.serving.registry import ModelKey, Registry

NEED = MemoryNeed(weights_bytes=10 * GIB, context_bytes=GIB, overhead_bytes=GIB)
KEY = ModelKey(ModelName("m"), Precision.INT8)


async def load_models(kept: KeptCorrections, *measured_bytes: int) -> None:
    """Load a model several times, and wait until that is written."""
    registry = Registry(clock=LoopClock())
    registry.enter(KEY, [Category("chat")])
    registry.listen(kept.on_change)
    writing = asyncio.create_task(kept.run())
    for measured in measured_bytes:
        kept.corrections.observe("transformers", KEY.precision, NEED, measured)
        for state in (
            ModelState.WAITING,
            ModelState.LOADING,
            ModelState.LOADED,
            ModelState.UNLOADING,
            ModelState.ABSENT,
        ):
            registry.move(KEY, state)
    async with asyncio.timeout(10):
        while list(read_again(kept).observations()) != list(kept.corrections.observations()):
            await asyncio.sleep(0.01)
    writing.cancel()


def read_again(kept: KeptCorrections) -> Corrections:
    return KeptCorrections(kept._folder).corrections


def test_what_was_learned_is_used_at_the_next_start(tmp_path: Path) -> None:
    folder = DocumentFolder(tmp_path / "learned")
    before = KeptCorrections(folder).corrections.expect("transformers", KEY.precision, NEED)

    asyncio.run(load_models(KeptCorrections(folder), *[18 * GIB] * 5))
    after = KeptCorrections(folder).corrections.expect("transformers", KEY.precision, NEED)

    assert before.observations == 0
    assert after.observations == 5
    assert after.bytes > 1.4 * before.bytes


def test_only_the_newest_loads_are_kept(tmp_path: Path) -> None:
    folder = DocumentFolder(tmp_path / "learned")

    asyncio.run(load_models(KeptCorrections(folder), *range(GIB, GIB + 100)))

    kept = [seen.measured_bytes for *_, seen in KeptCorrections(folder).corrections.observations()]
    assert kept == list(range(GIB + 68, GIB + 100))


@pytest.mark.parametrize("content", [
    b"",
    b"{broken",
    b"[]",
    b"{}",
    b'{"observations": 7}',
    b'{"observations": [["transformers", "FP32", 1, 2]]}',
    b'{"observations": [["transformers", "FP31", 1, 2, 3]]}',
    b'{"observations": [["transformers", "FP32", 1, 2, 0]]}',
    b'{"observations": [["transformers", "FP32", 1, 2, true]]}',
    b'{"observations": [[["transformers"], "FP32", 1, 2, 3]]}',
    b"\xff\x00" * 100,
])  # fmt: skip
@pytest.mark.usefixtures("usual_logging")
def test_a_file_that_is_of_no_use_is_set_aside_with_a_warning(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "memory.json").write_bytes(content)

    with capture_logs() as told:
        kept = KeptCorrections(DocumentFolder(tmp_path))

    assert list(kept.corrections.observations()) == []
    assert [(one["event"], one["log_level"]) for one in told] == [("corrections_set_aside", "warning")]
    assert (tmp_path / "memory.json.damaged").read_bytes() == content
    assert not (tmp_path / "memory.json").exists()


@given(content=st.binary(max_size=300))
def test_no_file_keeps_the_server_from_starting(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("learned")
    (folder / "memory.json").write_bytes(content)

    KeptCorrections(DocumentFolder(folder))
