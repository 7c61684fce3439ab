"""`conductor tasks correct`, `conductor mind tune`, `versions` and `rollback` at the terminal."""

from tests.cli.terminal import Terminal


def test_with_one_correction_tuning_says_how_many_more_it_needs_and_is_no_failure(served: Terminal) -> None:
    served.conductor("run", "label the crates", "--", "true")

    corrected = served.conductor("tasks", "correct", "last", "--device", "npu", "--priority", "2")
    tuned = served.conductor("mind", "tune")

    assert (corrected.code, tuned.code) == (0, 0)
    assert "NPU would have been right" in corrected.out
    assert "Nothing to tune yet: labelled descriptions: 1; at least 19 more" in tuned.out
    assert served.conductor("tasks", "correct", "last", "--withdraw").code == 0
    assert served.conductor("tasks", "correct", "last", "--withdraw").code == 4


def test_a_correction_needs_a_device_or_a_withdrawal_and_not_both(served: Terminal) -> None:
    assert served.conductor("tasks", "correct", "last").code == 2
    assert served.conductor("tasks", "correct", "last", "--device", "GPU", "--withdraw").code == 2


def test_before_any_tuning_the_shipped_mind_is_in_use_and_there_is_nothing_to_go_back_from(served: Terminal) -> None:
    listed = served.conductor("mind", "versions", "--json").json()

    assert listed == {"versions": [{"version": 0, "active": True, "usable": True, "card": None}], "problem": None}
    assert served.conductor("mind", "rollback").code == 5
    assert served.conductor("mind", "rollback", "3").code == 4
