"""Which server programs are found, which of them take models that ask for none, and what the doctor says of that."""

from pathlib import Path

import pytest

from conductor.app.doctor.check import Verdict
from conductor.app.doctor.models import Asked, check_models
from conductor.app.serving.programs import installed_programs, unasked_programs, with_program
from conductor.domain.model import ModelName, Precision
from conductor.domain.server_program import ServerProgram
from conductor.domain.units import GIB

BOTH = frozenset(ServerProgram)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine with both programs."""
    (tmp_path / "bin").mkdir()
    for program in ServerProgram:
        path = tmp_path / "bin" / program
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    (tmp_path / "root" / "dev").mkdir(parents=True)
    return {"PATH": str(tmp_path / "bin")}


def test_what_is_on_the_path_is_found(environ: dict[str, str], tmp_path: Path) -> None:
    assert installed_programs(environ)[ServerProgram.VLLM] == tmp_path / "bin" / "vllm"
    (tmp_path / "bin" / "vllm").chmod(0o644)
    assert set(installed_programs(environ)) == {ServerProgram.LLAMA_SERVER}


def test_without_being_asked_for_they_stand_in_for_what_is_missing_and_for_cards(
    environ: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "root"

    assert unasked_programs(environ, root=root, own_llama_cpp=True) == frozenset()
    assert unasked_programs(environ, root=root, own_llama_cpp=False) == {ServerProgram.LLAMA_SERVER}
    (root / "dev" / "kfd").touch()
    assert unasked_programs(environ, root=root, own_llama_cpp=True) == {ServerProgram.VLLM}
    assert unasked_programs({"PATH": "/nowhere"}, root=root, own_llama_cpp=False) == frozenset()


@pytest.mark.parametrize(
    ("name", "unasked", "run"),
    [
        ("a/b", BOTH, "vllm:a/b"),
        ("a/b", frozenset(), "a/b"),
        ("./x.gguf", BOTH, "llama-server:./x.gguf"),
        ("a/b/x.gguf", BOTH, "llama-server:a/b/x.gguf"),
        ("./folder", BOTH, "./folder"),
        ("http://h/v1#x.gguf", BOTH, "http://h/v1#x.gguf"),
        ("vllm:a/b", BOTH, "vllm:a/b"),
    ],
)
def test_a_name_that_asks_for_none_may_get_one(name: str, unasked: frozenset[ServerProgram], run: str) -> None:
    assert with_program(ModelName(name), unasked) == run


def test_the_doctor_says_whether_a_program_is_there_and_how_it_is_come_by(
    environ: dict[str, str], tmp_path: Path
) -> None:
    asked = Asked(name=ModelName("vllm:./absent"), precision=Precision.FP16)

    def looked_at(environ: dict[str, str]) -> dict[str, Verdict]:
        checks = check_models([asked], environ=environ, home=tmp_path, free_memory_bytes=GIB, version=lambda _: None)
        return {check.need: check.verdict for check in checks}

    assert looked_at(environ) == {"vllm": Verdict.OK, "model files": Verdict.MISSING}
    assert looked_at({"PATH": "/nowhere"})["vllm"] is Verdict.MISSING


def test_a_gguf_file_needs_nothing_of_ours_where_the_program_runs_it(environ: dict[str, str], tmp_path: Path) -> None:
    asked = Asked(name=ModelName("./absent.gguf"), precision=Precision.FP16)

    def needs(environ: dict[str, str], version: str | None) -> set[str]:
        checks = check_models([asked], environ=environ, home=tmp_path, free_memory_bytes=GIB, version=lambda _: version)
        return {check.need for check in checks}

    assert needs(environ, None) == {"llama-server", "model files"}
    assert needs(environ, "2026.11") == {"gguf", "xllamacpp", "model files"}
    assert needs({"PATH": "/nowhere"}, None) == {"gguf", "xllamacpp", "model files"}
