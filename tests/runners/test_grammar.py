"""Members of an object are written in the order of the schema, as with OpenAI: the first may be what is thought first."""

from pathlib import Path

import pytest

from conductor.domain.errors import ModelError
from conductor.domain.json import JsonObject


@pytest.mark.parametrize("names", [("why", "answer"), ("answer", "why")])
def test_members_come_in_the_order_of_the_schema(folder: Path, names: tuple[str, str]) -> None:
    torch = pytest.importorskip("torch", reason="the extra `hf` is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")
    pytest.importorskip("llguidance", reason="the extra `hf` is not installed")
    from conductor.adapters.runners.grammar import Grammars

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    grammars = Grammars(torch, tokenizer, vocabulary=len(tokenizer), ends=frozenset({1}))
    form: JsonObject = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": [*names],
        "additionalProperties": False,
    }

    def write(text: str) -> None:
        walk = grammars.of(form)
        for token in tokenizer(text).input_ids:
            walk.accept(token)

    write(f'{{"{names[0]}":"x","{names[1]}":"y"}}')
    with pytest.raises(ModelError):
        write(f'{{"{names[1]}":"x"')
