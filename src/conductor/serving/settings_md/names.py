"""What a technical model name may be: a Hugging Face id, a folder, a GGUF file, an endpoint's address. Nothing is looked at.

The first three may say which server program runs them: `llama-server:./x.gguf`, `vllm:owner/name`.

Whether there is such a model is found by the backend that loads it. Names of files that run code when they are loaded, and
addresses that carry keys, are refused here already, so that neither gets into a digest, a log or a decision.
"""

import re
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from conductor.domain.model import ModelName
from conductor.domain.server_program import ServerProgram, split_program
from conductor.serving.settings_md.cells import NOTHING, Unreadable
from conductor.serving.settings_md.problems import nearest, shown

_LONGEST: Final = 1000
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_BARE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TAGGED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*:[A-Za-z0-9][A-Za-z0-9._-]*")
_RUNS_CODE: Final = frozenset(
    {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".npy", ".npz", ".h5", ".keras", ".nemo"}
)
SCHEMES: Final = ("http", "https", "ollama", "lmstudio")
_KINDS: Final = (
    "write OWNER/NAME as on Hugging Face, a folder or .gguf file beginning with / or ./ or ~/, "
    "or an endpoint such as http://127.0.0.1:8001/v1#MODEL"
)


def check_name(text: str) -> ModelName:
    """The name, if it is one.

    Raises:
        Unreadable: it is of no kind, unsafe, or carries a key; says what to write instead.
    """
    if text.casefold() in NOTHING:
        raise Unreadable("there is no technical model name", remedy=_KINDS)
    if len(text) > _LONGEST or not text.isprintable():
        raise Unreadable(f"{shown(text)} is no technical model name", remedy=_KINDS)
    program, model = split_program(text)
    if program is not None:
        _check_for_program(program, model)
    elif "://" in text:
        _check_address(text)
    else:
        _check_file_or_id(text)
    return ModelName(text)


def has_precision(name: ModelName) -> bool:
    """Whether the precision of the table counts: a GGUF file brings its own, an endpoint chooses."""
    return "://" not in name and not name.lower().endswith(".gguf")


def _check_for_program(program: ServerProgram, model: str) -> None:
    if "://" in model:
        raise Unreadable(f"{shown(model)} is an address, which no program of ours serves", meant=model)
    is_gguf = model.lower().endswith(".gguf")
    if is_gguf is not (program is ServerProgram.LLAMA_SERVER):
        other = ServerProgram.LLAMA_SERVER if is_gguf else ServerProgram.VLLM
        what = "GGUF files" if program is ServerProgram.LLAMA_SERVER else "OWNER/NAME of Hugging Face and folders"
        raise Unreadable(f"{program} runs {what} only", meant=f"{other}:{model}" if model else "", remedy=_KINDS)
    _check_file_or_id(model)


def _check_file_or_id(text: str) -> None:
    suffix = PurePosixPath(text).suffix.lower()
    if suffix in _RUNS_CODE:
        raise Unreadable(
            f"{shown(text)} is unsafe: {suffix} files can run code when they are loaded",
            remedy="take the model as safetensors (name its folder) or as GGUF",
        )
    if suffix == ".safetensors":
        folder = str(PurePosixPath(text).parent)
        raise Unreadable("a model is more than its weights", meant=folder if "/" in text else "")
    if suffix == ".gguf" or text.startswith(("/", "./", "../", "~/")) or _HUB_ID.fullmatch(text):
        return
    if _TAGGED.fullmatch(text):
        raise Unreadable(
            f"{shown(text)} names a model of Ollama, but not where", meant=f"ollama://127.0.0.1:11434#{text}"
        )
    owner = "its owner is missing" if _BARE.fullmatch(text) else "it is of no kind we know"
    raise Unreadable(f"{shown(text)} is no technical model name: {owner}", remedy=_KINDS)


def _check_address(text: str) -> None:
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in SCHEMES:
        meant = nearest(scheme, SCHEMES)
        raise Unreadable(
            f"addresses do not begin with {shown(scheme)}",
            meant=f"{meant}://…" if meant else "",
            remedy=f"they begin with {', '.join(f'{each}://' for each in SCHEMES)}",
        )
    before_model = rest.partition("#")[0]
    if "@" in before_model or "?" in before_model:
        raise Unreadable(
            "the address holds a user name, a key or a query; they do not belong into a page that people share",
            remedy="write the address alone and keep the key in the settings",
        )
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # its words would repeat what may be a piece of a password
        raise Unreadable("host or port of the address cannot be read", remedy=_KINDS) from None
    if not parts.hostname:
        raise Unreadable(f"the address {shown(text)} has no host", remedy=_KINDS)
    if any(sign.isspace() for sign in text):
        raise Unreadable(f"there is a space in the address {shown(text)}", remedy="remove it")
