"""`conductor mind report`: empty state, text that fits 80 columns, PNG files, JSON."""

from pathlib import Path

from tests.cli.terminal import Terminal

from conductor.faces.cli.mind_report import lines

PNG = b"\x89PNG\r\n\x1a\n"


def test_without_history_it_says_what_to_do(alone: Terminal, tmp_path: Path) -> None:
    said = alone.conductor("mind", "report", "--output", str(tmp_path / "plots"))

    assert (said.code, "conductor run" in said.out) == (0, True)
    assert not (tmp_path / "plots").exists()


def test_after_tasks_it_plots_in_eighty_columns_and_into_files(served: Terminal, tmp_path: Path) -> None:
    for _ in range(3):
        assert served.conductor("run", "Sort a list of names", "--", "true").code == 0

    said = served.conductor("mind", "report", "--output", str(tmp_path / "plots"), "--since", "1h")

    assert said.code == 0
    assert "Calibration: " in said.out
    assert max(map(len, said.out.split("Written: ")[0].splitlines())) <= 80
    assert (tmp_path / "plots" / "calibration.png").read_bytes().startswith(PNG)
    assert served.conductor("mind", "report", "--json").json()["count"] >= 3


def test_a_span_that_is_none_is_refused(served: Terminal) -> None:
    said = served.conductor("mind", "report", "--since", "yesterday")

    assert (said.code, "since" in said.err) == (2, True)


def test_regret_is_drawn_where_there_is_some() -> None:
    period = {"start_unix_s": 0.0, "end_unix_s": 60.0, "count": 100_000, "within": None, "succeeded": 1.0}
    found = {
        "count": 1_000_000,
        "brier": 0.01,
        "expected_calibration_error": 0.02,
        "bins": [{"said": 1.0, "seen": 1.0, "count": 1_000_000}, {"said": 0.0, "seen": 0.0, "count": 1}],
        "periods": [period | {"ideal_device": 0.5, "regret": share} for share in (0.5, 0.25, None)],
    }
    drawn = lines(found)

    assert max(map(len, drawn)) <= 80
    assert [line.count("█") for line in drawn[-2:]] == [20, 10]
