"""`conductor mind evaluate` on files that cannot be judged by: the file, the line and the remedy are named."""

from pathlib import Path

import pytest
from tests.cli.terminal import Terminal

GOOD = '{"id": "1", "text": "Resize these photos", "accept": ["ISP"], "best": "ISP"}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["no rows", '"accept": [']),
        ("\n \n", ["no rows", '"accept": [']),
        (f'{GOOD}\n{{"id": "2", "text": "Sort", "accept": ["FPGA"], "best": "CPU"}}\n', ["line 2", "accept", "'FPGA'"]),
        (f"{GOOD}\n{GOOD}\n", ["line 2", "id", "line 1 has already"]),
        ("not json\n", ["line 1", "no JSON"]),
    ],
    ids=["empty", "blank", "device", "twice", "text"],
)
def test_a_file_that_cannot_be_judged_by_is_wrong_input_and_named(
    alone: Terminal, tmp_path: Path, content: str, words: list[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(content)

    said = alone.conductor("mind", "evaluate", str(file))

    assert (said.code, said.out) == (2, "")
    assert all(word in said.err for word in [str(file), *words]), said.err
    assert "Traceback" not in said.err
