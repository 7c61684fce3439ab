import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.decisions.ports import Proposal
from conductor.decisions.said import as_facts, checked_cues, checked_reason
from conductor.domain.device import DeviceType, TaskKind

TEXT = "transcode 40 clips to H.265"


def a_proposal(cues: tuple[str, ...] = (), reason: str = "") -> Proposal:
    return Proposal(
        device_probabilities={DeviceType.VIDEO: 0.9, DeviceType.CPU: 0.1},
        task_kind=TaskKind.VIDEO_TRANSCODE,
        cues=cues,
        reason=reason,
    )


def test_only_words_of_the_description_are_repeated() -> None:
    assert checked_cues(a_proposal(("clips", "password", "", "H.265")), TEXT) == ("clips", "H.265")


@pytest.mark.parametrize(
    ("cues", "kept"),
    [
        (("the", "...", ",", "clips"), ("clips",)),
        (("clips,", "clips"), ("clips",)),
        (("The", "und", "pour", "para"), ()),
        (("5", "a", "x."), ()),
        ((".wav", "C++", "H.265"), (".wav", "C++", "H.265")),
        (("名", "。"), ("名",)),
    ],
)
def test_cues_that_say_nothing_are_not_repeated(cues: tuple[str, ...], kept: tuple[str, ...]) -> None:
    text = "The 5 clips, a x. ... und pour para .wav C++ H.265 名。"

    assert checked_cues(a_proposal(cues), text) == kept


@given(cue=st.text(max_size=20))
def test_a_cue_that_is_kept_has_a_letter_and_stands_in_the_text(cue: str) -> None:
    for kept in checked_cues(a_proposal((cue,)), f"transcode {cue} clips"):
        assert kept in cue
        assert any(map(str.isalpha, kept))


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("40 clips are block work for a VIDEO engine", True),
        ("All of the VIDEO engines are free", True),
        ("It takes 12 minutes on VIDEO", False),
        ("The GPU would be faster", False),
        ("x" * 241, False),
        ("red \x1b[31m alert", False),
        ("", False),
    ],
)
def test_a_sentence_is_kept_only_if_its_numbers_and_devices_are_known(reason: str, kept: bool) -> None:
    assert checked_reason(reason, TEXT, DeviceType.VIDEO) == (reason if kept else "")


@given(reason=st.text(max_size=300))
def test_what_is_kept_of_any_sentence_names_no_other_device(reason: str) -> None:
    kept = checked_reason(reason, TEXT, DeviceType.VIDEO)

    assert not any(str(device) in kept.split() for device in DeviceType if device is not DeviceType.VIDEO)


def test_no_facts_without_a_language_model() -> None:
    assert as_facts(None, TEXT, DeviceType.VIDEO) is None
    assert as_facts(a_proposal(("clips",)), TEXT, DeviceType.VIDEO) == {
        "device": DeviceType.VIDEO,
        "probability": 0.9,
        "cues": ["clips"],
        "reason": "",
    }
