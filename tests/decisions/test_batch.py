import json

import pytest
from tests.decisions.arrangement import HashingEncoder, StillClock, a_maker

from conductor.decisions.batch import check_labels, decide_rows, judged, output_row, read_rows
from conductor.domain.device import DeviceType
from conductor.domain.errors import InvalidInput


def line(**fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False)


def test_every_row_is_decided_in_order_with_all_fields(encoder: HashingEncoder, clock: StillClock) -> None:
    lines = [line(id=f"r{number}", text=f"encode video clip {number}") for number in range(150)]
    rows = read_rows(lines)

    decided = [output_row(row, decision) for row, _, decision in decide_rows(a_maker(encoder, clock), rows)]

    assert [row["id"] for row in decided] == [f"r{number}" for number in range(150)]
    assert set(decided[0]) >= {
        "id", "device", "runner_up", "task_kind", "priority", "compute_units", "duration_s", "confidence", "parts",
        "reasoning", "available_device",
    }  # fmt: skip
    assert decided[0]["device"] == DeviceType.VIDEO
    assert json.loads(json.dumps(decided[0])) == decided[0]


def test_a_batch_decides_as_single_requests_do(encoder: HashingEncoder, clock: StillClock) -> None:
    texts = ["sort the csv rows", "resize photos", "sort the csv rows"]
    rows = read_rows(line(id=number, text=text) for number, text in enumerate(texts))

    together = [decision for *_, decision in decide_rows(a_maker(encoder, clock), rows)]
    alone = [next(decide_rows(a_maker(encoder, clock), [row]))[2] for row in rows]

    assert together == alone


def test_blank_lines_are_skipped_and_still_counted() -> None:
    rows = read_rows(["", line(id="a", text="zip files"), "  \n", line(id="b", text="zip files")])

    assert [(row.row_id, row.line) for row in rows] == [("a", 2), ("b", 4)]


@pytest.mark.parametrize(
    ("bad", "field", "says"),
    [
        ("{not json", "line 2", "no JSON"),
        ("[1, 2]", "line 2", "not a JSON object"),
        ("[" * 100_000, "line 2", "no JSON"),
        (line(text="zip"), "line 2.id", "must be a string"),
        (line(id=True, text="zip"), "line 2.id", "must be a string"),
        (line(id="a", text="zip"), "line 2.id", "line 1 has already"),
        (line(id="b"), "line 2.text", "must be a string"),
        (line(id="b", text=7), "line 2.text", "must be a string"),
        (line(id="b", text="  "), "line 2.text", "description is empty"),
        (line(id="b", text="a" * 100_001), "line 2.text", "100,001 characters"),
        (line(id="b", text="a\x00b"), "line 2.text", "control characters"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_line_and_field(bad: str, field: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        read_rows([line(id="a", text="zip files"), bad])
    assert refused.value.field == field


def test_labels_are_read_from_the_row(encoder: HashingEncoder, clock: StillClock) -> None:
    rows = read_rows([line(id="a", text="resize photos", accept=["ISP", "CPU"], best="ISP", hard=True, lang="en")])
    row, analysis, decision = next(decide_rows(a_maker(encoder, clock), rows))

    result = judged(row, analysis, decision)

    assert (result.accept, result.best) == ({DeviceType.ISP, DeviceType.CPU}, DeviceType.ISP)
    assert (result.hard, result.language, result.right) == (True, "en", True)
    assert result.probability == dict(decision.device_probabilities)[decision.device]


@pytest.mark.parametrize(
    ("labels", "field", "says"),
    [
        ({"best": "ISP"}, "line 2.accept", "must be a list"),
        ({"accept": "ISP", "best": "ISP"}, "line 2.accept", "must be a list"),
        ({"accept": [], "best": "ISP"}, "line 2.accept", "at least one"),
        ({"accept": ["FPGA"], "best": "ISP"}, "line 2.accept", "names 'FPGA'; device types are GPU, NPU"),
        ({"accept": ["vidoe"], "best": "ISP"}, "line 2.accept", "did you mean VIDEO"),
        ({"accept": ["ISP"]}, "line 2.best", "is missing"),
        ({"accept": ["ISP"], "best": "isp"}, "line 2.best", "did you mean ISP"),
    ],
)
def test_a_row_without_usable_labels_is_refused_before_anything_is_decided(
    labels: dict[str, object], field: str, says: str
) -> None:
    good = line(id="a", text="resize photos", accept=["ISP"], best="ISP")
    rows = read_rows([good, line(id="b", text="resize photos", **labels)])

    with pytest.raises(InvalidInput, match=says) as refused:
        check_labels(rows)
    assert refused.value.field == field


def test_no_rows_are_nothing_to_judge_by() -> None:
    with pytest.raises(InvalidInput, match=r'no rows .* "accept"'):
        check_labels(read_rows(["", "  "]))
