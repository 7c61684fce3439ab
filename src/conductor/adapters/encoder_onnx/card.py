"""Read the card that stands beside the weights, and vouch for the files it names.

Decides whether a folder holds the encoder it claims to hold. Running it is `encoder.py`; writing the card is the
training recipe.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from conductor.domain.errors import StorageError

WEIGHTS = "encoder.int8.onnx"
TOKENIZER = "tokenizer.json"
LETTERS = "letters.npz"
CARD = "card.json"


@dataclass(frozen=True, slots=True)
class Card:
    """What the product needs to know of a training: the name with version, and SHA-256 per file in lowercase hex."""

    name: str
    sha256: dict[str, str]


def read_card(folder: Path) -> Card:
    """The card in `folder`.

    Raises:
        StorageError: the card is missing or does not say name, version and digests.
    """
    path = folder / CARD
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        digests = {name: str(raw["sha256"][name]) for name in (WEIGHTS, TOKENIZER, LETTERS)}
        return Card(f"{raw['name']} {raw['version']}", digests)
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise StorageError(f"the encoder's card {path} cannot be read ({wrong}); install the package again") from wrong


def verify(folder: Path, card: Card) -> None:
    """Compare the files with their digests; reads about 25 MB.

    Raises:
        StorageError: a file is missing or is not the one the card was written for; says file, expected and found.
    """
    for name, expected in card.sha256.items():
        path = folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as missing:
            raise StorageError(f"the encoder's file {path} cannot be read ({missing})") from missing
        if found != expected:
            raise StorageError(
                f"the encoder's file {path} is damaged or foreign: SHA-256 expected {expected}, found {found}; "
                "install the package again",
                details={"file": str(path), "expected": expected, "found": found},
            )
