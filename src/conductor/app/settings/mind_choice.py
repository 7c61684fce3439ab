"""What the setting `mind.model` can name, told apart by how it is written; nothing is looked at yet."""

import re
from enum import StrEnum
from pathlib import PurePath
from typing import Final
from urllib.parse import urlsplit

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class MindKind(StrEnum):
    """Kinds of language models that can take part in decisions."""

    OWN = "own"
    NONE = "none"
    HUB = "hugging face"
    FOLDER = "folder"
    GGUF = "gguf"
    ENDPOINT = "endpoint"


def mind_kind(choice: str) -> MindKind:
    """Which kind a choice is.

    Raises:
        ValueError: it is none; the message says why, as far as it can be told.
    """
    if choice in ("conductor", "none"):
        return MindKind.OWN if choice == "conductor" else MindKind.NONE
    if choice.startswith(("http://", "https://")):
        _check_address(choice)
        return MindKind.ENDPOINT
    suffix = PurePath(choice).suffix.lower()
    if suffix == ".gguf":
        return MindKind.GGUF
    if suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"):
        raise ValueError(f"{suffix} files run code when they are loaded; take safetensors or GGUF")
    if suffix == ".safetensors":
        raise ValueError("a model is more than its weights; name the folder they lie in")
    if choice.startswith(("/", "./", "../", "~/")):
        return MindKind.FOLDER
    if _HUB_ID.fullmatch(choice):
        return MindKind.HUB
    raise ValueError("it names no kind of model")


def endpoint_of(choice: str) -> tuple[str, str | None]:
    """Address and model name of an endpoint: `http://host/v1#name` → `http://host/v1`, `name`."""
    address, _, name = choice.partition("#")
    return address, name or None


def check_vision(choice: str) -> str:
    """See that a choice names a model of an OpenAI-compatible endpoint, `http://host:port/v1#name`; returns it.

    Raises:
        ValueError: it does not; the message says why.
    """
    address, name = endpoint_of(choice)
    if not address.startswith(("http://", "https://")) or not name or any(letter <= " " for letter in address):
        raise ValueError("it must look like http://HOST:PORT/v1#MODEL")
    try:
        _check_address(address)
    except ValueError as wrong:
        raise ValueError(str(wrong).replace("CONDUCTOR_MIND__API_KEY", "serving.endpoint_keys")) from None
    return choice


def _check_address(choice: str) -> None:
    try:
        parts = urlsplit(choice)
        _ = parts.port
    except ValueError:  # its words would repeat what may be a piece of a password
        raise ValueError("it is no address: host or port cannot be read") from None
    if not parts.hostname:
        raise ValueError("the address has no host")
    if parts.username is not None or parts.query:
        raise ValueError("keys and passwords do not belong into an address, set CONDUCTOR_MIND__API_KEY")
