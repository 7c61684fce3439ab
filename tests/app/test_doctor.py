"""What the doctor concludes from what is installed and from a model's files."""

import json
import struct
from pathlib import Path

import pytest

from conductor.adapters.installed import Driver
from conductor.app.doctor.check import Check, Verdict
from conductor.app.doctor.installation import _clock, _driver
from conductor.app.doctor.models import Asked, check_extras, check_models, extras_to_install, install_command
from conductor.domain.model import Category, ModelName, Precision
from conductor.domain.units import GIB

SOUND = {
    "torch": "2.13.0", "transformers": "5.23.1", "safetensors": "0.8.0", "llguidance": "1.9.1", "jinja2": "3.1.6",
    "accelerate": "1.15.0", "bitsandbytes": "0.50.2",
    "gguf": "0.19.0", "xllamacpp": "2026.11", "sympy": "1.14.0", "lingua-language-detector": "2.1.1", "jsonschema": "4.26.0",
}  # fmt: skip
ENDPOINT = ModelName("http://127.0.0.1:9/v1#m")


def looked_at(asked: Asked, installed: dict[str, str], home: Path, *, free_memory_bytes: int = GIB) -> dict[str, Check]:
    checks = check_models([asked], environ={}, home=home, free_memory_bytes=free_memory_bytes, version=installed.get)
    return {check.need: check for check in checks}


def a_folder(root: Path, *, numbers: int) -> Path:
    """A model of one float32 matrix."""
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [numbers // 16, 16], "data_offsets": [0, 4 * numbers]}})
    root.mkdir()
    (root / "config.json").write_text('{"model_type": "llama"}')
    (root / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4 * numbers))
    return root


def test_another_torch_than_the_pinned_one_is_wrong_and_its_extra_is_installed_whole(tmp_path: Path) -> None:
    asked = Asked(name=ModelName(str(a_folder(tmp_path / "m", numbers=1600))), precision=Precision.FP32)

    found = looked_at(asked, SOUND | {"torch": "2.14.0"}, tmp_path)

    assert {need for need, check in found.items() if check.fails} == {"torch"}
    assert found["torch"].verdict is Verdict.WRONG
    assert extras_to_install(found.values()) == ["hf"]
    assert install_command(["hf"])[-6:] == [
        "torch==2.13.0",
        "transformers>=5.23,<6",
        "accelerate>=1.12,<2",
        "safetensors>=0.8",
        "llguidance>=1.9,<2",
        "jinja2>=3.1",
    ]


def test_a_model_that_does_not_fit_is_a_note_with_both_figures(tmp_path: Path) -> None:
    asked = Asked(name=ModelName(str(a_folder(tmp_path / "m", numbers=1600))), precision=Precision.FP32)

    scarce = looked_at(asked, SOUND, tmp_path, free_memory_bytes=1000)["memory"]

    assert looked_at(asked, SOUND, tmp_path)["memory"].verdict is Verdict.OK
    assert (scarce.verdict, scarce.found) == (Verdict.NOTE, "1000 B free")
    assert scarce.wanted.startswith("about 600.0 MiB")


def test_a_pickle_is_unsafe_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"\x80\x04\x95 no model")

    found = looked_at(Asked(name=ModelName(str(tmp_path / "m.gguf")), precision=Precision.FP16), SOUND, tmp_path)

    assert (found["model files"].verdict, found["model files"].found) == (Verdict.WRONG, "unsafe")


def test_what_only_checks_answers_is_a_note_and_is_installed_when_asked_for(tmp_path: Path) -> None:
    asked = Asked(name=ENDPOINT, precision=Precision.FP16, category=Category("mathematical_reasoning"))

    found = looked_at(asked, {}, tmp_path)

    assert {need: check.verdict for need, check in found.items()} == {"sympy": Verdict.NOTE, "endpoint": Verdict.OK}
    assert extras_to_install(found.values()) == ["math"]


def test_extras_that_no_model_asks_for_are_never_installed() -> None:
    checks = check_extras(version=lambda _name: None)

    assert {check.verdict for check in checks} == {Verdict.NOTE}
    assert extras_to_install(checks) == []
    assert {check.verdict for check in check_extras(version=SOUND.get)} == {Verdict.OK}


@pytest.mark.parametrize(
    ("driver", "verdict"),
    [
        (Driver(maker="NVIDIA", module="", library="550.1"), Verdict.NOTE),
        (Driver(maker="NVIDIA", module="550.1", library="550.1"), Verdict.OK),
        (Driver(maker="NVIDIA", module="550.1", library="unknown"), Verdict.OK),
        (Driver(maker="NVIDIA", module="550.1", library="550.2"), Verdict.WRONG),
        (Driver(maker="NVIDIA", module="550.1", library=""), Verdict.WRONG),
        (Driver(maker="AMD", module="loaded", library=""), Verdict.OK),
    ],
)
def test_a_driver_whose_halves_differ_is_wrong_and_none_at_all_is_a_note(driver: Driver, verdict: Verdict) -> None:
    assert _driver(driver).verdict is verdict


def test_a_clock_that_was_never_set_is_wrong() -> None:
    assert _clock(86_400.0).verdict is Verdict.WRONG


def test_what_only_several_devices_need_is_not_missing_on_a_machine_with_one(tmp_path: Path) -> None:
    folder = ModelName(str(a_folder(tmp_path / "m", numbers=1600)))
    sound = {name: version for name, version in SOUND.items() if name != "accelerate"}

    def accelerate(precision: Precision, cards: int) -> tuple[Verdict, str]:
        asked = [Asked(name=folder, precision=precision)]
        found = check_models(asked, environ={}, home=tmp_path, free_memory_bytes=GIB, version=sound.get, cards=cards)
        (check,) = {check for check in found if check.need == "accelerate"}
        return check.verdict, check.remedy

    assert accelerate(Precision.BF16, 0) == (Verdict.NOTE, "not needed for one device")
    assert accelerate(Precision.FP16, 1) == (Verdict.NOTE, "not needed for one device")
    assert accelerate(Precision.BF16, 2)[0] is Verdict.MISSING
    assert accelerate(Precision.INT4, 1)[0] is Verdict.MISSING
    assert extras_to_install(
        check_models(
            [Asked(name=folder, precision=Precision.BF16)],
            environ={}, home=tmp_path, free_memory_bytes=GIB, version=sound.get,
        )
    ) == []  # fmt: skip


def test_a_program_is_installed_by_what_this_machine_has(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path)}
    asked = [Asked(name=ModelName("llama-server:m.gguf"), precision=Precision.FP16)]

    def command() -> str:
        found = check_models(asked, environ=environ, home=tmp_path, free_memory_bytes=GIB, version=SOUND.get)
        return next(check.command for check in found if check.need == "llama-server")

    assert command() == "", "brew is not on this machine"
    (tmp_path / "brew").write_text("#!/bin/sh\n")
    (tmp_path / "brew").chmod(0o755)
    assert command() == "brew install llama.cpp"
