"""`conductor tasks correct`, `conductor mind tune`, `versions` and `rollback` at the terminal."""

import pytest
from rich.console import Console
from tests.cli.terminal import Terminal

from conductor.faces.cli import mind_tune, printing


def test_with_one_correction_tuning_says_what_is_missing_and_how_to_get_it_and_is_no_failure(served: Terminal) -> None:
    served.conductor("run", "label the crates", "--", "true")

    corrected = served.conductor("tasks", "correct", "last", "--device", "npu", "--priority", "2")
    tuned = served.conductor("mind", "tune")

    assert (corrected.code, tuned.code) == (0, 0)
    assert "NPU, priority 2 would have been right" in corrected.out
    assert "Nothing to tune yet: 1 description is labelled with the right device; 19 more, each of other" in tuned.out
    assert "What now: run tasks as usual" in tuned.out
    assert "conductor tasks correct TASK --device" in tuned.out
    assert served.conductor("tasks", "correct", "last", "--withdraw").code == 0
    assert served.conductor("tasks", "correct", "last", "--withdraw").code == 4


def test_a_correction_says_something_or_is_a_withdrawal_and_not_both(served: Terminal) -> None:
    nothing = served.conductor("tasks", "correct", "last")

    assert nothing.code == 2
    assert all(option in nothing.err for option in ("--device", "--kind", "--priority", "--withdraw"))
    assert served.conductor("tasks", "correct", "last", "--device", "GPU", "--withdraw").code == 2
    assert served.conductor("tasks", "correct", "last", "--priority", "1", "--withdraw").code == 2


def test_one_part_is_enough_and_those_not_named_stay_as_they_were_said(served: Terminal) -> None:
    served.conductor("run", "polish the brass plates", "--", "true")

    kind = served.conductor("tasks", "correct", "last", "--kind", "training")
    priority = served.conductor("tasks", "correct", "last", "--priority", "1")

    assert (kind.code, priority.code) == (0, 0)
    assert "kind training would have been right" in kind.out
    assert "kind training, priority 1 would have been right" in priority.out
    assert served.conductor("tasks", "correct", "last", "--withdraw").code == 0


def test_before_any_tuning_the_shipped_mind_is_in_use_and_there_is_nothing_to_go_back_from(served: Terminal) -> None:
    listed = served.conductor("mind", "versions", "--json").json()

    shipped = {"version": 0, "active": True, "usable": True, "made_at_unix_s": None, "hold_out": None, "card": None}
    assert listed == {"versions": [shipped], "problem": None}
    assert "No version was tuned yet" in served.conductor("mind", "versions").out
    assert served.conductor("mind", "rollback").code == 5
    assert served.conductor("mind", "rollback", "3").code == 4


def test_each_version_is_listed_with_what_it_reached_on_how_many_texts(capsys: pytest.CaptureFixture[str]) -> None:
    hold_out = {"count": 14, "against": 0, "right": {"before": 0.5, "after": 0.93}}
    found = [
        {"version": 0, "active": False, "usable": True, "made_at_unix_s": None, "hold_out": None},
        {
            "version": 1,
            "active": True,
            "usable": True,
            "made_at_unix_s": 1_790_000_000.0,
            "hold_out": hold_out | {"log_loss": {"before": 1.25, "after": 0.375}},
        },
    ]

    Console(width=80).print(mind_tune.listed(found))
    shipped, tuned = capsys.readouterr().out.splitlines()[2:4]

    assert shipped.split() == ["0", "(shipped)", "no", "–", "–", "–", "–"]
    for figure in ("yes", printing.when(1_790_000_000.0)[:16], "14", "50% → 93%", "1.250 → 0.375"):
        assert figure in tuned
