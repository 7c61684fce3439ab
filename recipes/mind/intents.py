"""Train the reader of intents: `python -m recipes.mind.intents` (about a minute on one core, numpy only).

Multinomial logistic regression with a ridge on [embedding × SHARE; hashed letters], from `data/intents.jsonl`. With
fewer utterances than columns, the weights are a combination of the utterances' own features; so the fit runs on the
matrix of their inner products, and is exact. How much ridge and embedding there is was chosen by cross-validation on
the training part (`--choose`); the hold-out, by other writers, is only measured.

`--convert FOLDER OUT` makes the jsonl from tab-separated parts (intent, language, text).
"""

import argparse
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.intent_reader.reader import (
    CARD,
    COLUMNS,
    SHIPPED,
    WEIGHTS,
    LinearIntentReader,
    letters_of,
    readable,
)
from conductor.domain.intent import Intent

DATA = Path(__file__).parent / "data"
RIDGE = 3e-5
EMBEDDING_SHARE = 0.8
STEPS = 600
FOLDS = 5

Matrix = npt.NDArray[np.float32]
INTENTS = list(Intent)


@dataclass(frozen=True)
class Row:
    text: str
    intent: Intent
    lang: str


def read(path: Path) -> list[Row]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Row(line["text"], Intent(line["intent"]), line["lang"]) for line in lines]


def convert(folder: Path, out: Path) -> None:
    """Tab-separated parts to jsonl; a text that occurs twice is kept once."""
    seen: set[str] = set()
    with out.open("w", encoding="utf-8") as file:
        for part in sorted(folder.glob("*.tsv")):
            for number, line in enumerate(part.read_text(encoding="utf-8").splitlines(), start=1):
                intent, lang, text = line.split("\t")
                key = " ".join(text.casefold().split())
                if key in seen:
                    continue
                seen.add(key)
                row = {"id": f"{part.stem}-{number:03}", "text": text, "intent": Intent(intent), "lang": lang}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def letters(texts: list[str]) -> Matrix:
    """float32 [texts, COLUMNS]."""
    made = np.zeros((len(texts), COLUMNS), np.float32)
    for row, text in enumerate(texts):
        columns, values = letters_of(text)
        np.add.at(made[row], columns, values)
    return made


def fit(kernel: Matrix, truth: Matrix, ridge: float) -> tuple[Matrix, Matrix]:
    """Combination of utterances [n, 9] and bias [9] of least regularised cross-entropy (accelerated gradient)."""
    count = len(kernel)
    step = 1.0 / (0.5 * largest_eigenvalue(kernel) / count + 0.5 + ridge)
    alpha, bias = np.zeros_like(truth), np.zeros(truth.shape[1], np.float32)
    ahead, ahead_bias = alpha, bias
    for turn in range(STEPS):
        logits = kernel @ ahead + ahead_bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        wrong = (shares / shares.sum(axis=1, keepdims=True) - truth) / count
        before, before_bias = alpha, bias
        alpha = ahead - step * (wrong + ridge * ahead)
        bias = ahead_bias - step * wrong.sum(axis=0)
        speed = turn / (turn + 3)
        ahead, ahead_bias = alpha + speed * (alpha - before), bias + speed * (bias - before_bias)
    return alpha, bias


def largest_eigenvalue(kernel: Matrix, steps: int = 30) -> float:
    """Of a matrix of inner products, a little too large rather than too small (power iteration)."""
    vector = np.ones(len(kernel), np.float32)
    for _ in range(steps):
        vector = kernel @ (vector / np.linalg.norm(vector))
    return 1.02 * float(np.linalg.norm(vector))


def choose(letter_kernel: Matrix, embedding_kernel: Matrix, truth: Matrix) -> None:
    """Print cross-validated accuracy for some ridges and shares of the embedding."""
    fold = np.random.default_rng(0).permutation(len(truth)) % FOLDS
    for share in (0.0, 0.7, 1.0, 1.5, 2.5):
        kernel = letter_kernel + share**2 * embedding_kernel
        for ridge in (1e-4, 3e-4, 1e-3):
            right = 0
            for held in range(FOLDS):
                train, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
                alpha, bias = fit(kernel[np.ix_(train, train)], truth[train], ridge)
                said = (kernel[np.ix_(test, train)] @ alpha + bias).argmax(axis=1)
                right += int((said == truth[test].argmax(axis=1)).sum())
            print(f"embedding × {share:<4} ridge {ridge:<7g} accuracy {right / len(truth):.4f}", flush=True)


def write(letter_weights: Matrix, embedding: Matrix, bias: Matrix, encoder: OnnxEncoder, data: Path) -> None:
    """Weights (letters in 8 bits) and the card beside them."""
    scale = np.maximum(np.abs(letter_weights).max(axis=0), 1e-9) / 127.0
    np.savez_compressed(
        SHIPPED / WEIGHTS,
        letters=np.round(letter_weights / scale).astype(np.int8),
        scale=scale.astype(np.float32),
        embedding=embedding.astype(np.float16),
        bias=bias.astype(np.float32),
    )
    card = {
        "name": "conductor-intents",
        "sha256": hashlib.sha256((SHIPPED / WEIGHTS).read_bytes()).hexdigest(),
        "encoder": encoder.name,
        "encoder_sha256": encoder.checksum,
        "data_sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
        "ridge": RIDGE,
        "embedding_share": EMBEDDING_SHARE,
    }
    (SHIPPED / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def measure(reader: LinearIntentReader, rows: list[Row]) -> None:
    """Print the accuracy on rows that were not trained on, in all, by intent and by language."""
    said = [max(shares, key=shares.__getitem__) for shares in reader.read([row.text for row in rows])]
    right = [row for row, intent in zip(rows, said, strict=True) if row.intent is intent]
    print(f"hold-out: {len(right)} of {len(rows)} right, {len(right) / len(rows):.4f}")
    for name in ("intent", "lang"):
        hits, all_ = Counter(getattr(row, name) for row in right), Counter(getattr(row, name) for row in rows)
        print("  " + ", ".join(f"{key} {hits[key]}/{count}" for key, count in sorted(all_.items())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choose", action="store_true", help="cross-validate instead of writing weights")
    parser.add_argument("--convert", nargs=2, type=Path, metavar=("FOLDER", "OUT"))
    options = parser.parse_args()
    if options.convert:
        convert(*options.convert)
        return
    data = DATA / "intents.jsonl"
    rows, encoder = read(data), OnnxEncoder()
    texts = [readable(row.text) for row in rows]
    truth = np.eye(len(INTENTS), dtype=np.float32)[[INTENTS.index(row.intent) for row in rows]]
    letter_rows, embeddings = letters(texts), encoder.encode(texts).embeddings
    letter_kernel, embedding_kernel = letter_rows @ letter_rows.T, embeddings @ embeddings.T
    if options.choose:
        choose(letter_kernel, embedding_kernel, truth)
        return
    alpha, bias = fit(letter_kernel + EMBEDDING_SHARE**2 * embedding_kernel, truth, RIDGE)
    write(letter_rows.T @ alpha, EMBEDDING_SHARE**2 * embeddings.T @ alpha, bias, encoder, data)
    measure(LinearIntentReader(encoder), read(DATA / "intents_holdout.jsonl"))


if __name__ == "__main__":
    main()
