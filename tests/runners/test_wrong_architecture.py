"""Weights that are not of the architecture that the folder names are refused, not filled up with random numbers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from conductor.adapters.runners.transformers_loading import load
from conductor.domain.errors import ModelError
from conductor.domain.model import Precision


def loaded(folder: Path) -> Any:
    return load(folder, name="ours", asked=Precision.FP32, available_bytes=2**40, threads=1)


def changed(folder: Path, where: Path, **config: object) -> Path:
    """A copy whose `config.json` says something else."""
    shutil.copytree(folder, where)
    told = json.loads((where / "config.json").read_text())
    (where / "config.json").write_text(json.dumps(told | config))
    return where


@pytest.mark.parametrize("config", [{"model_type": "gpt_neox"}, {"num_hidden_layers": 5}])
def test_weights_of_another_architecture_are_refused(folder: Path, tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="has not the weights of"):
        loaded(changed(folder, tmp_path / "other", **config))


def test_weights_of_its_own_architecture_are_taken(folder: Path) -> None:
    assert loaded(folder).model is not None
