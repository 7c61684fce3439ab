"""Read the address of a model that runs elsewhere: which server, how it is spoken to, which model there.

`http://host:port/v1#model` (or https) is anything OpenAI-compatible; `ollama://host:port#model` and
`lmstudio://host:port#model` are spoken to in those programs' own ways. Without `#model` it is the only model there. Ports of
Ollama and LM Studio have defaults. Keys are no part of an address: they come from the settings.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from conductor.domain.errors import InvalidInput
from conductor.domain.redaction import without_secrets

_SCHEMES: Final = {"http": "openai", "https": "openai", "ollama": "ollama", "lmstudio": "lmstudio"}
_PORTS: Final = {"ollama": 11434, "lmstudio": 1234}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model is.

    Args:
        dialect: `openai`, `ollama` or `lmstudio`.
        origin: `http://host:port`, no slash at its end; keys are kept by it.
        base: where `/chat/completions` is added; for Ollama it is `origin`.
        model: its name there; empty takes the only one.
    """

    dialect: str
    origin: str
    base: str
    model: str

    def __str__(self) -> str:
        return f"{self.base}#{self.model}" if self.model else self.base


def is_address(text: str) -> bool:
    """Whether this is meant as an address; looks at its beginning only."""
    return text.partition("://")[0].lower() in _SCHEMES and "://" in text


def parse_address(text: str) -> Address:
    """Read an address.

    Raises:
        InvalidInput: it has no host, a password or a query, or a port that is none.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError as wrong:
        raise _unusable(text, str(wrong)) from wrong
    dialect = _SCHEMES.get(parts.scheme.lower())
    if dialect is None or not host:
        raise _unusable(text, "it must look like http://host:port/v1#model")
    if parts.username or parts.password or parts.query:
        raise _unusable(text, "keys do not belong into an address; put the key into the settings")
    if any(ord(letter) <= 32 for letter in host):
        raise _unusable(text, "its host holds a space")
    scheme = parts.scheme.lower() if dialect == "openai" else "http"
    port = port or _PORTS.get(dialect)
    shown = f"[{host}]" if ":" in host else host
    origin = f"{scheme}://{shown}:{port}" if port else f"{scheme}://{shown}"
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    base = origin if dialect == "ollama" else f"{origin}{path or '/v1'}"
    return Address(dialect, origin, base, parts.fragment)


def _unusable(text: str, why: str) -> InvalidInput:
    return InvalidInput(f"{without_secrets(text)!r} is no address of a model: {why}", field="model")
