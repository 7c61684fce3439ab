"""Find models that Hugging Face's tools have fetched already, by reading the folders they leave; never goes online.

Layout: `models--OWNER--NAME/refs/main` names a commit, `models--OWNER--NAME/snapshots/COMMIT` holds its files
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conductor.domain.errors import ModelError


@dataclass(frozen=True, slots=True)
class Cached:
    """A model in the cache: its id, and the folder or GGUF file that can be loaded.

    `sha256` is that of its weights where they are one file and the cache says it (large files are named by it).
    """

    name: str
    path: Path
    size_bytes: int
    sha256: str


class HubCache:
    """The cache below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def of(cls, environment: Mapping[str, str], home: Path) -> "HubCache":
        """Where the tools keep it: `$HF_HUB_CACHE`, `$HF_HOME/hub`, `$XDG_CACHE_HOME/huggingface/hub`, `~/.cache/…`."""
        if named := environment.get("HF_HUB_CACHE"):
            return cls(Path(named))
        caches = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
        return cls(Path(environment.get("HF_HOME") or caches / "huggingface") / "hub")

    def folder_of(self, name: str) -> Path:
        """The folder of a model's present version.

        Raises:
            ModelError: it is not in the cache; names the command that fetches it.
        """
        folder = self._snapshot(self._root / f"models--{name.replace('/', '--')}")
        if folder is None:
            raise ModelError(
                f"the model {name} is not on this machine (looked in {self._root}); "
                f"fetch it with `hf download {name}`, or name a folder in mind.model",
                field="mind.model",
            )
        return folder

    def models(self) -> Iterator[Cached]:
        """Everything here that could be used as a mind, by name: folders with safetensors, and GGUF files."""
        for place in sorted(self._root.glob("models--*")):
            folder = self._snapshot(place)
            if folder is None:
                continue
            name = place.name.removeprefix("models--").replace("--", "/")
            weights = [path for path in folder.glob("*.safetensors") if path.exists()]
            if weights and (folder / "config.json").exists():
                digest = _digest(weights[0]) if len(weights) == 1 else ""
                yield Cached(name, folder, sum(path.stat().st_size for path in weights), digest)
            for path in sorted(folder.glob("*.gguf")):
                if path.exists():
                    yield Cached(f"{name}/{path.name}", path, path.stat().st_size, _digest(path))

    def _snapshot(self, place: Path) -> Path | None:
        try:
            commit = (place / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        folder = place / "snapshots" / commit
        return folder if commit and "/" not in commit and folder.is_dir() else None


def _digest(path: Path) -> str:
    blob = path.resolve().name
    return blob if re.fullmatch("[0-9a-f]{64}", blob) else ""
