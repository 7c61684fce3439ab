import json
from pathlib import Path

import pytest
from benchmarks.harness import CannotRun, Goal, Row, WrongResult, compare, figures, interleave, percentile
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import __main__ as command
from benchmarks import harness


def test_a_rate_is_compared_by_medians_and_the_ratio_says_how_many_times_better_ours_is() -> None:
    row = compare(
        "work", "1/s", [90.0, 100.0, 140.0], more_is_better=True, peer_name="peer", peer=[25.0, 5.0, 30.0], goal=None
    )

    assert row == Row(
        metric="work", unit="1/s", ours=100.0, peer_name="peer", peer=25.0, ratio=4.0, goal=None, met=None, spread=0.5
    )


def test_a_time_that_is_longer_than_the_peers_has_a_ratio_below_one() -> None:
    assert compare("start", "s", [4.0], more_is_better=False, peer_name="peer", peer=[1.0])["ratio"] == 0.25


def test_without_a_peer_there_is_no_ratio_and_a_single_round_has_no_spread() -> None:
    row = compare("start", "s", [4.0], more_is_better=False)

    assert (row["peer"], row["ratio"], row["spread"]) == (None, None, None)


@pytest.mark.parametrize(
    ("goal", "ours", "ratio", "met"),
    [
        (Goal("at least", 5000), 5000.0, None, True),
        (Goal("at least", 5000), 4999.99, None, False),
        (Goal("below", 3), 2.99, None, True),
        (Goal("below", 3), 3.0, None, False),
        (Goal("times peer", 10), 1.0, 10.0, True),
        (Goal("times peer", 10), 1e9, 9.999, False),
        (Goal("times peer", 10), 1e9, None, False),
    ],
)
def test_a_goal_is_met_exactly_from_its_bound_on(goal: Goal, ours: float, ratio: float | None, met: bool) -> None:
    assert goal.is_met(ours, ratio) is met


def test_a_goal_is_judged_before_figures_are_rounded() -> None:
    row = compare("start", "s", [2.99996], more_is_better=False, goal=Goal("below", 3))

    assert (row["ours"], row["goal"], row["met"]) == (3.0, "< 3", True)


def test_a_goal_of_an_unknown_relation_is_refused() -> None:
    with pytest.raises(ValueError, match="around"):
        Goal("around", 1)


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_rounding_to_figures_changes_a_value_by_less_than_a_thousandth(value: float) -> None:
    assert abs(figures(value) - value) <= value / 1000


@given(st.lists(st.integers(), min_size=1), st.floats(min_value=0.01, max_value=1.0))
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(values: list[int], share: float) -> None:
    found = percentile(values, share)

    below = [value for value in values if value < found]
    assert found in values
    assert len(below) < share * len(values) <= sum(value <= found for value in values) + 1e-6


def test_every_side_is_measured_once_per_round_and_every_second_round_backwards() -> None:
    calls: list[str] = []
    sides = {name: lambda name=name: calls.append(name) or len(calls) for name in "abc"}

    measured = interleave(3, sides)

    assert "".join(calls) == "abc" + "cba" + "abc"
    assert measured == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_the_results_file_holds_the_agreed_keys_and_the_rows_as_they_are(tmp_path: Path) -> None:
    row = compare("work", "1/s", [1.0, 2.0], more_is_better=True, goal=Goal("at least", 5))

    path = harness.write("sample", [row], measured_commit="abc123", folder=tmp_path / "results")

    document = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == "sample.json"
    assert (document["name"], document["commit"], document["rows"]) == ("sample", "abc123", [dict(row)])
    assert set(document) == {"name", "commit", "machine", "rows"}
    assert set(document["machine"]) == {"cpu", "cores", "memory_gib", "os", "python"}
    assert tuple(document["rows"][0]) == harness.COLUMNS


def test_the_table_shows_a_missed_goal_and_leaves_no_column_out() -> None:
    missed = compare("work", "1/s", [1234.5, 1234.5], more_is_better=True, goal=Goal("at least", 5000))

    header, _, line = harness.table([missed]).splitlines()

    assert header.split() == list(harness.COLUMNS)
    assert line.split() == ["work", "1/s", "1,234", "–", "–", "–", "≥", "5,000", "NO", "0"]


def test_an_unknown_benchmark_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["quue"]) == 2
    assert "quue" in capsys.readouterr().err


def _run_as(monkeypatch: pytest.MonkeyPatch, folder: Path, answers: dict[str, object]) -> int:
    """The command with benchmarks that answer at once and a results folder of its own."""

    def benchmark(name: str) -> object:
        class Module:
            @staticmethod
            def run() -> object:
                answer = answers[name.rpartition(".")[2]]
                if isinstance(answer, Exception):
                    raise answer
                return answer

        return Module

    monkeypatch.setattr(command.importlib, "import_module", benchmark)
    monkeypatch.setattr(command, "write", lambda *a, **k: harness.write(*a, **k, folder=folder))
    return command.main(list(answers))


def test_a_missed_goal_is_a_result_and_not_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missed = [compare("work", "1/s", [1.0], more_is_better=True, goal=Goal("at least", 5))]

    assert _run_as(monkeypatch, tmp_path, {"queue": missed}) == 0
    assert json.loads((tmp_path / "queue.json").read_text(encoding="utf-8"))["rows"][0]["met"] is False


@pytest.mark.parametrize("failure", [CannotRun("no redis"), WrongResult("3 of 5"), ZeroDivisionError("oops")])
def test_a_benchmark_that_cannot_run_fails_the_command_with_its_reason_and_the_others_still_run(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [compare("work", "1/s", [1.0], more_is_better=True)]

    assert _run_as(monkeypatch, tmp_path, {"queue": failure, "startup": rows}) == 1
    assert str(failure) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["startup.json"]
