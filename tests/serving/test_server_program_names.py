"""Technical names that say which server program runs the model."""

import pytest

from conductor.domain.model import ModelName
from conductor.domain.server_program import ServerProgram, split_program
from conductor.serving.requirements import Place, needs_of, place_of
from conductor.serving.settings_md.cells import Unreadable
from conductor.serving.settings_md.names import check_name, has_precision


@pytest.mark.parametrize(
    ("name", "program", "precise"),
    [
        ("llama-server:./x.gguf", ServerProgram.LLAMA_SERVER, False),
        ("llama-server:owner/name/x.Q4_K_M.GGUF", ServerProgram.LLAMA_SERVER, False),
        ("vllm:meta-llama/Llama-3.1-8B", ServerProgram.VLLM, True),
        ("vllm:~/models/mine", ServerProgram.VLLM, True),
    ],
)
def test_a_name_may_ask_for_a_program(name: str, program: ServerProgram, precise: bool) -> None:
    assert check_name(name) == name
    assert split_program(name) == (program, name.partition(":")[2])
    assert place_of(ModelName(name)) is Place(program.value)
    assert needs_of(ModelName(name)) == ()
    assert has_precision(ModelName(name)) is precise


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("vllm:./x.gguf", "llama-server:./x.gguf"),
        ("llama-server:owner/name", "vllm:owner/name"),
        ("vllm:http://127.0.0.1:8001/v1#m", "http://127.0.0.1:8001/v1#m"),
        ("llama-server:", ""),
        ("vllm:", ""),
        ("vllm:bare", ""),
        ("vllm:./x.bin", ""),
        ("vllm:llama-server:x.gguf", ""),
    ],
)
def test_what_a_program_does_not_run_is_refused_with_the_one_that_does(name: str, meant: str) -> None:
    with pytest.raises(Unreadable) as refused:
        check_name(name)
    if meant:
        assert refused.value.meant == meant


def test_other_names_ask_for_none() -> None:
    for name in ("a/b", "x.gguf", "http://h:1/v1#m", "ollama://h#llama3:8b", "VLLM:a/b", "other:a/b", ""):
        assert split_program(name) == (None, name)
