"""List the models of an installation: ours, the one that is chosen, and those on this machine that could be chosen.

Reads cards, folders and file sizes only; no weights are loaded or hashed. The digest is what a card or Hugging Face's
cache says of the weights, and empty where nobody has said yet (it is computed when a model is loaded).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conductor import adapters
from conductor.adapters.minds.hub_cache import Cached, HubCache
from conductor.adapters.model_card import read_card
from conductor.app.settings.mind_choice import MindKind, endpoint_of, mind_kind
from conductor.domain.errors import StorageError

_ADAPTERS: Final = Path(adapters.__path__[0])
_PACKAGE: Final = "the package"
_TAKES_PART: Final = "takes part in decisions"
_CHOICE: Final = "can be chosen as mind.model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One model: `kind` as people call it, `sha256` in lowercase hex or empty, `size_bytes` None where it is unknown."""

    name: str
    kind: str
    use: str
    size_bytes: int | None
    sha256: str
    in_use: bool
    where: str


def listed_models(choice: str, *, environment: Mapping[str, str], home: Path) -> list[ListedModel]:
    """The models there are, those in use first.

    Args:
        choice: the setting `mind.model`.
    """
    kind = mind_kind(choice)
    cached = list(HubCache.of(environment, home).models())
    own = kind is MindKind.OWN
    found = [
        *_shipped("encoder_onnx", "encoder", "reads every task", in_use=True),
        *_shipped("mind_llama", "own mind", _TAKES_PART if own else "mind.model conductor chooses it", in_use=own),
        *_shipped("intent_reader", "intents", "reads what is asked in a chat", in_use=True),
        *_chosen(choice, kind, cached),
    ]
    named = {model.where for model in found}
    found += [_cached(model, in_use=False) for model in cached if str(model.path) not in named]
    return sorted(found, key=lambda model: not model.in_use)


def _shipped(folder: str, kind: str, use: str, *, in_use: bool) -> Iterator[ListedModel]:
    """A model of ours, by the card beside its weights; none if it was not shipped."""
    where = _ADAPTERS / folder
    try:
        card = read_card(where, ())
    except StorageError:  # told by whoever wants to run the model
        return
    said = card.facts.get("sha256")
    digests = {name: str(digest) for name, digest in said.items()} if isinstance(said, Mapping) else {}
    sizes = {name: _size(where / name) or 0 for name in digests}
    if sizes:
        weights = max(sizes, key=lambda name: sizes[name])
        yield ListedModel(
            name=card.name,
            kind=kind,
            use=use,
            size_bytes=sizes[weights],
            sha256=digests[weights],
            in_use=in_use,
            where=_PACKAGE,
        )


def _chosen(choice: str, kind: MindKind, cached: list[Cached]) -> Iterator[ListedModel]:
    """The chosen foreign model, whether it is there or not."""
    if kind is MindKind.ENDPOINT:
        address, name = endpoint_of(choice)
        yield _foreign(name or "the endpoint's model", kind="endpoint", where=address)
    elif kind is MindKind.HUB:
        here = next((model for model in cached if model.name == choice), None)
        yield _cached(here, in_use=True) if here else _foreign(choice, kind="hugging face", where="not on this machine")
    elif kind in (MindKind.FOLDER, MindKind.GGUF):
        path = Path(choice)
        weights = [path] if kind is MindKind.GGUF else sorted(path.glob("*.safetensors"))
        sizes = [size for size in map(_size, weights) if size is not None]
        yield _foreign(path.name, kind=kind, where=choice if sizes else f"{choice} (missing)", size_bytes=sum(sizes))


def _foreign(name: str, *, kind: str, where: str, size_bytes: int | None = None) -> ListedModel:
    return ListedModel(
        name=name, kind=kind, use=_TAKES_PART, size_bytes=size_bytes or None, sha256="", in_use=True, where=where
    )


def _cached(model: Cached, *, in_use: bool) -> ListedModel:
    gguf = model.path.suffix == ".gguf"
    return ListedModel(
        name=model.name,
        kind="gguf" if gguf else "hugging face",
        use=_TAKES_PART if in_use else _CHOICE,
        size_bytes=model.size_bytes,
        sha256=model.sha256,
        in_use=in_use,
        where=str(model.path),
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
