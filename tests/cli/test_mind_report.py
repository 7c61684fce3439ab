"""`conductor mind report`: empty state, text that fits 80 columns, PNG files, JSON."""

from pathlib import Path
from typing import Any

import pytest
from tests.cli.terminal import Terminal

from conductor.adapters import plots
from conductor.adapters.plots import draw_report
from conductor.faces.cli.mind_report import lines

REPORT: dict[str, Any] = {
    "count": 60,
    "brier": 0.08,
    "expected_calibration_error": 0.034,
    "bins": [{"said": 0.55, "seen": 0.4, "count": 12}, {"said": 0.97, "seen": 0.99, "count": 48}],
    "periods": [
        {
            "start_unix_s": 1.79e9 + 60 * number,
            "end_unix_s": 1.79e9 + 60 * number + 59,
            "count": 20,
            "within": 0.5,
            "succeeded": 0.9,
            "ideal_device": 0.75,
            "regret": 0.2 / (1 + number),
        }
        for number in range(3)
    ],
}
DRAWN = [
    (
        lambda found: plots.figures(found)["calibration.png"],
        ["stated confidence (%)", "succeeded (%)", "ideal", "alike"],
    ),
    (lambda found: plots.figures(found)["accuracy.png"], ["UTC", "finished tasks (%)", "±20 %", "succeeded", "ideal"]),
    (lambda found: plots.figures(found)["regret.png"], ["UTC", "extra time (% of", "best place known today"]),
]
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


@pytest.mark.parametrize("dark", [False, True])
def test_every_plot_names_its_axes_with_units_and_has_a_legend(tmp_path: Path, dark: bool) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    files = draw_report(REPORT, tmp_path, dark=dark)

    assert [file.name for file in files] == ["calibration.png", "accuracy.png", "regret.png"]
    for file in files:
        with Image.open(file) as image:
            corner, shades = image.convert("RGB").getpixel((0, 0)), image.convert("L").getextrema()
        assert (sum(corner) < 3 * 64) == dark  # type: ignore[arg-type]
        assert shades[1] - shades[0] > 180  # ink and ground are far apart


@pytest.mark.parametrize(("draw", "words"), DRAWN)
def test_the_words_of_a_plot_tell_what_is_measured_in_which_unit(draw: Any, words: list[str]) -> None:
    pytest.importorskip("matplotlib")
    figure = draw(REPORT)
    (axes,) = figure.axes
    (legend,) = figure.legends

    told = [axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in legend.get_texts())]
    assert [word for word in words if not any(word in each for each in told)] == []


def test_each_column_of_the_text_is_explained_in_a_line_of_its_own() -> None:
    drawn = lines(REPORT)

    for column in ("expected error", "Brier score", "said", "succeeded", "outcomes", "until", "within ±20 %", "regret"):
        assert any(line.startswith(f"  {column}  ") for line in drawn), column
