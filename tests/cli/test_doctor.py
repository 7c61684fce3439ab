"""`conductor doctor` at a terminal: what it finds, its exit codes, and that it installs only when told to."""

import base64
import hashlib
import os
import socket
import stat
import subprocess
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from tests.cli.terminal import PATIENCE_S, Said, Terminal

HUB_MODEL = "nobody/there-is-no-such-model"


@pytest.fixture
def wide(alone: Terminal) -> Terminal:
    return Terminal(data_dir=alone.data_dir, here=alone.here, columns=200)


def has_torch() -> bool:
    try:
        return bool(version("torch"))
    except PackageNotFoundError:
        return False


def checks(said: Said) -> dict[str, dict[str, str]]:
    return {check["need"]: check for check in said.json()["checks"]}


def with_environment(terminal: Terminal, *words: str, **variables: str) -> Said:
    done = subprocess.run(
        terminal.line(*words), input="", capture_output=True, text=True, cwd=terminal.here,
        env=terminal.environment() | variables, timeout=PATIENCE_S,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def a_wheel(folder: Path, name: str, number: str, requires: str = "") -> None:
    """A wheel with metadata and nothing else."""
    info, files = f"{name}-{number}.dist-info", {}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{requires}"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
        for path, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{number}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def test_a_sound_installation_passes_and_is_left_as_it_was(wide: Terminal) -> None:
    said = with_environment(wide, "doctor", "--json", CONDUCTOR_SERVER__PORT="0")

    found = checks(said)
    assert said.code == 0, [check for check in found.values() if check["verdict"] in ("wrong", "missing")]
    assert found["data folder"]["found"] == f"{wide.data_dir} can be made"
    assert {found[need]["verdict"] for need in ("Python", "port", "weights encoder_onnx", "weights mind_llama")} == {
        "ok"
    }
    assert not wide.data_dir.exists()


def test_what_is_wrong_with_an_installation_is_named_with_its_remedy(wide: Terminal) -> None:
    wide.data_dir.mkdir(mode=0o700)
    key = wide.data_dir / "key"
    key.write_text("ck_x\n")
    key.chmod(0o644)
    (wide.data_dir / "ledger.jsonl").write_text("no ledger\n" * 3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = with_environment(wide, "doctor", "--json", CONDUCTOR_SERVER__PORT=port)
        shown = with_environment(wide, "doctor", CONDUCTOR_SERVER__PORT=port)

    found = checks(said)
    assert said.code == shown.code == 1
    assert {need for need, check in found.items() if check["verdict"] == "wrong"} == {"key", "port"}
    assert (found["ledger"]["verdict"], found["ledger"]["remedy"]) == (
        "note",
        "the last 30 bytes are unfinished, as a crash leaves them; the next start sets them aside",
    )
    assert found["key"]["command"] == f"chmod 600 {key}"
    assert "0644" in found["key"]["remedy"]
    assert f"  chmod 600 {key}" in shown.out.splitlines()
    assert stat.S_IMODE(key.stat().st_mode) == 0o644, "the doctor changes nothing"


def test_postgres_without_its_driver_is_a_thing_that_is_missing_or_there(wide: Terminal) -> None:
    said = with_environment(wide, "doctor", "--json", CONDUCTOR_DATABASE_URL="postgresql://nobody@localhost/none")

    assert checks(said)["asyncpg"]["verdict"] == "ok"


@pytest.mark.skipif(has_torch(), reason="torch is installed")
def test_a_model_that_cannot_run_is_told_with_the_exact_commands(wide: Terminal) -> None:
    said = wide.conductor("doctor", HUB_MODEL, "--json")
    shown = wide.conductor("doctor", HUB_MODEL)

    found = checks(said)
    assert said.code == shown.code == 1
    assert set(found) == {
        "torch", "transformers", "accelerate", "safetensors", "llguidance", "jinja2", "model files"
    }  # fmt: skip
    assert (found["torch"]["wanted"], found["torch"]["verdict"]) == ("2.13.0", "missing")
    assert "-m pip install" in found["torch"]["command"]
    assert "torch==2.13.0 'transformers>=5.23,<6'" in found["torch"]["command"]
    assert f"  hf download {HUB_MODEL}" in shown.out.splitlines()


def test_an_endpoint_needs_nothing_here(wide: Terminal) -> None:
    said = wide.conductor("doctor", "http://127.0.0.1:9/v1#some-model", "--json")

    assert (said.code, list(checks(said))) == (0, ["endpoint"])


def test_a_file_that_runs_code_is_refused_and_a_folder_of_nothing_is_wrong(wide: Terminal) -> None:
    (wide.here / "empty").mkdir()

    assert wide.conductor("doctor", "model.bin").code == 4
    assert checks(wide.conductor("doctor", "./empty", "--json"))["model files"]["found"] == "empty"


def test_a_word_that_is_neither_category_nor_model_says_what_there_is(wide: Terminal) -> None:
    said = wide.conductor("doctor", "poetry")

    assert said.code == 4
    assert "the model table is empty" in said.err


def test_the_rows_of_the_model_table_are_looked_at_with_what_their_engines_use(wide: Terminal) -> None:
    wide.data_dir.mkdir(mode=0o700)
    page = wide.conductor("settings", "validate", "--example").out
    (wide.data_dir / "SETTINGS.md").write_text(page)
    served = wide.conductor("settings", "models", "--json").json()["models"]

    said = with_environment(wide, "doctor", "--json", CONDUCTOR_SERVER__PORT="0")

    assert {check["about"] for check in said.json()["checks"]} == {"installation", *(row["name"] for row in served)}
    assert wide.conductor("doctor", "code_completion", "--json").json()["checks"][0]["about"] == served[1]["name"]


@pytest.mark.skipif(has_torch(), reason="torch is installed")
def test_nothing_is_installed_without_agreement(wide: Terminal) -> None:
    said = wide.conductor("doctor", HUB_MODEL, "--install", stdin="n\n")

    assert said.code == 6
    assert "This would be run:" in said.err
    assert "nothing was installed" in said.err


@pytest.mark.skipif(has_torch(), reason="torch is installed")
def test_an_index_that_cannot_be_reached_is_told_plainly(wide: Terminal) -> None:
    said = with_environment(
        wide, "doctor", HUB_MODEL, "--install", "--yes",
        PIP_CONFIG_FILE=os.devnull, PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_EXTRA_INDEX_URL="", PIP_FIND_LINKS="",
        PIP_RETRIES="1", PIP_NO_CACHE_DIR="1", PIP_TARGET=str(wide.here / "target"),
    )  # fmt: skip

    assert said.code == 70
    assert "pip cannot reach a package index" in said.err.splitlines()[-1]


@pytest.mark.skipif(has_torch(), reason="torch is installed")
def test_what_was_agreed_to_is_installed_and_found(wide: Terminal) -> None:
    wheels, target = wide.here / "wheels", wide.here / "target"
    a_wheel(wheels, "torch", "2.13.0")
    a_wheel(wheels, "torch", "2.14.0")
    a_wheel(wheels, "transformers", "5.23.1")
    a_wheel(wheels, "accelerate", "1.12.1")
    a_wheel(wheels, "safetensors", "0.8.1")
    a_wheel(wheels, "llguidance", "1.9.9")
    a_wheel(wheels, "jinja2", "3.1.9")

    said = with_environment(
        wide, "doctor", HUB_MODEL, "--install", "--yes", "--json",
        PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels), PIP_TARGET=str(target),
        PYTHONPATH=str(target),
    )  # fmt: skip

    found = checks(said)
    assert said.code == 1, "the model's files are still missing"
    assert (found["torch"]["found"], found["torch"]["verdict"]) == ("2.13.0", "ok")
    assert found["transformers"]["verdict"] == "ok"
