"""Files attached on the command line: with a server, without one, and what goes wrong."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.attachments.making import image_file, photo_pixels, tone, wav_file
from tests.cli.terminal import Said, Terminal


@pytest.fixture
def conductor(alone: Terminal, tmp_path: Path) -> Callable[..., Said]:
    """Commands on a fresh installation that decides without a language model, beside a photo and a recording."""
    (tmp_path / "plain.yaml").write_text("mind:\n  model: none\n")
    image_file(tmp_path / "photo.jpg", photo_pixels(800, 600))
    wav_file(tmp_path / "talk.wav", tone(2.0))
    return partial(alone.conductor, "--config", "plain.yaml")


def test_a_command_finds_the_attached_files(conductor: Callable[..., Said]) -> None:
    said = conductor(
        *("run", "--attach", "photo.jpg", "--attach", "talk.wav", "put these together", "--", "ls", "attachments")
    )
    assert said.code == 0, said.err
    assert "photo.jpg\ntalk.wav\n" in said.out
    assert "for 2 attached files" in " ".join(said.out.replace("│", " ").split())


def test_a_decision_names_the_photo(conductor: Callable[..., Said], tmp_path: Path) -> None:
    decision = conductor("decide", "--json", "--attach", "photo.jpg", "clean this up").json()

    assert decision["device"] == "ISP"
    assert "attached photo (800×600, 0.48 MP)" in decision["reasoning"]
    assert not (tmp_path / "data" / "attachments").exists()


@pytest.mark.parametrize("verb", ["run", "decide"])
def test_what_cannot_be_attached_is_wrong_input(conductor: Callable[..., Said], tmp_path: Path, verb: str) -> None:
    (tmp_path / "empty.jpg").touch()
    for name, told in (("none.jpg", "none.jpg"), (".", "."), ("empty.jpg", "empty")):
        said = conductor(verb, "--attach", name, "clean this up")
        assert said.code == 2, said
        assert told in said.err
