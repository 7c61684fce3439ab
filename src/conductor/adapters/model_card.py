"""Read the card that stands beside shipped weights, and vouch for the files it names.

Decides whether a folder holds the model it claims to hold. Running it is the model's own adapter; writing the card is its
training recipe.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conductor.domain.errors import StorageError

CARD = "card.json"


@dataclass(frozen=True, slots=True)
class Card:
    """What the product needs to know of a training.

    Args:
        name: with version.
        sha256: per file, lowercase hex.
        facts: everything the card says.
    """

    name: str
    sha256: dict[str, str]
    facts: Mapping[str, Any]


def read_card(folder: Path, files: Sequence[str]) -> Card:
    """The card in `folder`, which must name a digest for each of `files`.

    Raises:
        StorageError: the card is missing or does not say name, version and digests.
    """
    path = folder / CARD
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        digests = {name: str(raw["sha256"][name]) for name in files}
        return Card(f"{raw['name']} {raw['version']}", digests, raw)
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise StorageError(f"the model's card {path} cannot be read ({wrong}); install the package again") from wrong


def verify(folder: Path, card: Card) -> None:
    """Compare the files with their digests; reads all of them.

    Raises:
        StorageError: a file is missing or is not the one the card was written for; says file, expected and found.
    """
    for name, expected in card.sha256.items():
        path = folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as missing:
            message = f"the model's file {path} cannot be read ({missing}); install the package again"
            raise StorageError(message) from missing
        if found != expected:
            raise StorageError(
                f"the model's file {path} is damaged or foreign: SHA-256 expected {expected}, found {found}; "
                "install the package again",
                details={"file": str(path), "expected": expected, "found": found},
            )
