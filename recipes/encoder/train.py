"""Train the sentence encoder from the data in the repository and ship it: one command, fixed seeds.

`python -m recipes.encoder.train` fits one network per seed (`fit.py`) and the letter expert (`letters.py`) on all
training rows, joins and calibrates them on the hold-out, and ships the result (`export.py`). `--small` is a check of
the recipe itself: a few hundred texts, two epochs, nothing shipped, exit code 1 when nothing was learned. `--validate`
keeps a tenth of the training rows aside and ships nothing; it was used to choose the settings (`docs/lab-log.md`).
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from recipes.encoder import base
from recipes.encoder.data import DEVICES, Row, file_digests, holdout_rows, judge_rows, targets, text_key, training_rows
from recipes.encoder.evaluate import metrics, printed
from recipes.encoder.export import LETTERS, SHIPPED, export, write_card
from recipes.encoder.fit import CACHE, Ground, Settings, averaged, fit, forward, prepare
from recipes.encoder.letters import Letters, fit_letters, write_letters
from recipes.encoder.model import TaskEncoder
from tokenizers import Tokenizer
from torch import Tensor

NAME = "conductor-task-encoder"
VERSION = "0.3.0"
CHECKPOINT = "encoder.pt"


@dataclass(frozen=True, slots=True)
class Mixture:
    """How network and letter expert are joined: softmax(network / temperature + letters * letter_factor)."""

    temperature: float
    letter_factor: float

    def of(self, network: Tensor, letter: Tensor) -> Tensor:
        """Device probabilities from the two experts' logits, all [texts, devices]."""
        return (network / self.temperature + letter * self.letter_factor).softmax(1)


def fitted_mixture(network: Tensor, letter: Tensor, accept: Tensor) -> Mixture:
    """The two numbers that give the accepted devices the most probability."""
    grid = [
        Mixture(float(temperature), float(factor))
        for temperature in np.geomspace(0.5, 4.0, 43)
        for factor in np.linspace(0.0, 2.0, 41)
    ]
    losses = [-(mixture.of(network, letter) * accept).sum(1).clamp(min=1e-6).log().mean().item() for mixture in grid]
    return grid[int(np.argmin(losses))]


def report(rows: Sequence[Row], probabilities: Tensor, kind: Tensor, title: str) -> dict[str, float]:
    """Print and return what `evaluate.metrics` says of predictions for `rows`."""
    found = metrics(rows, probabilities.numpy(), kind.softmax(1).numpy())
    rounded = {name: round(value, 4) for name, value in found.items()}
    print(title, rounded, printed(rows, probabilities.numpy()), sep="\n", flush=True)
    return rounded


def split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Nine tenths to fit and one to look at, chosen by the text alone."""
    aside = [int(text_key(row.text)[:4], 16) % 10 == 0 for row in rows]
    return [r for r, a in zip(rows, aside, strict=True) if not a], [r for r, a in zip(rows, aside, strict=True) if a]


def look(ground: Ground, rows: Sequence[Row], settings: Settings) -> float:
    """Fit on nine tenths of `rows`, measure the rest, and return its accuracy on `accept`; nothing is shipped."""
    fit_rows, look_rows = split(rows)
    texts = [row.text for row in look_rows]
    letter = fit_letters(fit_rows).logits(texts)
    _, device, kind = forward(fit(ground, fit_rows, settings, settings.seeds[0]), ground.tokenizer, texts)
    report(look_rows, letter.softmax(1), kind, "letters alone")
    report(look_rows, device.softmax(1), kind, "network alone")
    return report(look_rows, Mixture(1.0, 1.0).of(device, letter), kind, "both")["accept"]


def try_small(ground: Ground, rows: Sequence[Row]) -> int:
    """Exit code 0 when two epochs on a few hundred texts beat the most frequent device on texts left aside."""
    some = rows[::10]
    always = max(float(targets(some).accept[:, column].mean()) for column in range(len(DEVICES)))
    reached = look(ground, some, Settings(epochs=2))
    print(f"always the most frequent device: {always:.3f}, this run: {reached:.3f}")
    return 0 if reached > always + 0.1 else 1


def train_and_ship(ground: Ground, rows: Sequence[Row], settings: Settings) -> None:
    """Fit both experts, join and calibrate them on the hold-out, write them and their card into the package."""
    began = time.perf_counter()
    letters = fit_letters(rows)
    model = averaged([fit(ground, rows, settings, seed) for seed in settings.seeds]).eval()
    ship(ground.tokenizer, model, letters, {"settings": asdict(settings), "training_texts": len(rows)}, began)


def ship(tokenizer: Tokenizer, model: TaskEncoder, letters: Letters, facts: Mapping[str, object], began: float) -> None:
    """Calibrate on the hold-out and replace the shipped files; `facts` go into the card."""
    holdout = holdout_rows()
    texts = [row.text for row in holdout]
    _, device, kind = forward(model, tokenizer, texts)
    letter = letters.logits(texts)
    mixture = fitted_mixture(device, letter, torch.from_numpy(targets(holdout).accept))
    report(holdout, device.softmax(1), kind, "hold-out, network alone")
    found = report(holdout, mixture.of(device, letter), kind, f"hold-out, both: {mixture}")
    judged = {name: judged_on(rows, model, tokenizer, letters, mixture, name) for name, rows in judge_rows().items()}
    torch.save(model.state_dict(), CACHE / CHECKPOINT)  # what the language model's recipe starts from
    model.temperature.fill_(mixture.temperature)
    export(model, tokenizer, SHIPPED)
    write_letters(letters, mixture.letter_factor, SHIPPED / LETTERS)
    card = {
        "name": NAME,
        "version": VERSION,
        "base": {"package": base.PACKAGE, "version": base.VERSION, "wheel_sha256": base.WHEEL_SHA256},
        "commit": _commit(),
        **facts,
        "training_s": round(time.perf_counter() - began),
        "mixture": asdict(mixture),
        "holdout": found,
        **judged,
        "data_sha256": file_digests(),
    }
    write_card(SHIPPED, card)


def judged_on(
    rows: Sequence[Row], model: TaskEncoder, tokenizer: Tokenizer, letters: Letters, mixture: Mixture, name: str
) -> dict[str, float]:
    """Print and return how both experts together do on rows that chose nothing."""
    texts = [row.text for row in rows]
    _, device, kind = forward(model, tokenizer, texts)
    return report(rows, mixture.of(device, letters.logits(texts)), kind, f"{name}, both")


def _commit() -> str:
    git = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Read the command line and do one of the three runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="check the recipe on a few hundred texts; ships nothing")
    parser.add_argument("--validate", action="store_true", help="fit on nine tenths, measure the rest; ships nothing")
    options = parser.parse_args()
    # More threads than free cores make every step wait for the slowest, and sums would depend on their number.
    torch.set_num_threads(1)
    ground, rows, settings = prepare(), training_rows(), Settings()
    if options.small:
        return try_small(ground, rows)
    if options.validate:
        look(ground, rows, settings)
    else:
        train_and_ship(ground, rows, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
