"""List the models of an installation: ours, the one that is chosen, and those on this machine that could be chosen.

Reads cards, folders and file sizes only; no weights are loaded or hashed. The digest is what a card or Hugging Face's
cache says of the weights, and empty where nobody has said yet (it is computed when a model is loaded).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from conductor import adapters
from conductor.adapters.minds.hub_cache import Cached, HubCache
from conductor.adapters.model_card import read_card
from conductor.app.minds.state import MindNow, MindState
from conductor.app.settings.mind_choice import MindKind, endpoint_of, mind_kind
from conductor.domain.errors import StorageError

_ADAPTERS: Final = Path(adapters.__path__[0])
_PACKAGE: Final = "the package"
_TAKES_PART: Final = "takes part in decisions"
_CHOICE: Final = "can be chosen as mind.model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One model.

    Args:
        kind: as people call it.
        use: what it is for.
        state: `in use`, `loading`, `fails`, `withheld`, `next start` (chosen meanwhile) or `not in use`.
        size_bytes: None where it is unknown.
        sha256: of the weights in lowercase hex, empty where nobody said.
        in_use: whether it takes part now; `configured`: whether the settings name it, or it belongs to the product.
        where: the package, a path, an address, or that it is not here.
    """

    name: str
    kind: str
    use: str
    state: str
    size_bytes: int | None
    sha256: str
    in_use: bool
    configured: bool
    where: str


def listed_models(mind: MindNow, *, environment: Mapping[str, str], home: Path) -> list[ListedModel]:
    """The models there are, those in use first, then those that are chosen and do not work.

    Args:
        mind: which language model was chosen and which takes part.
    """
    cached = list(HubCache.of(environment, home).models())
    found = [
        *_shipped("encoder_onnx", "encoder", "reads every task"),
        *_shipped("mind_llama", "own mind", "mind.model conductor chooses it", mind, "conductor"),
        *_shipped("intent_reader", "intents", "reads what is asked in a chat"),
    ]
    for choice in dict.fromkeys((mind.in_effect, mind.configured)):
        found += _chosen(choice, mind, cached)
    named = {model.where for model in found}
    found += [_cached(model) for model in cached if str(model.path) not in named]
    return sorted(found, key=lambda model: (not model.in_use, not model.configured))


def _standing(choice: str, mind: MindNow) -> dict[str, Any]:
    """What `mind` says of one choice, as fields of `ListedModel`."""
    if choice == mind.in_effect:
        ready = mind.state == MindState.READY
        state = "in use" if ready else mind.state
    else:
        ready, state = False, "next start" if choice == mind.configured else "not in use"
    standing = {"state": state, "in_use": ready, "configured": choice == mind.configured}
    return standing | ({"use": _TAKES_PART} if state != "not in use" else {})


def _shipped(folder: str, kind: str, use: str, mind: MindNow | None = None, choice: str = "") -> Iterator[ListedModel]:
    """A model of ours, by the card beside its weights; none if it was not shipped. Without `mind` it is always used."""
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
        listed = ListedModel(
            name=card.name,
            kind=kind,
            use=use,
            state="in use",
            size_bytes=sizes[weights],
            sha256=digests[weights],
            in_use=True,
            configured=True,
            where=_PACKAGE,
        )
        yield listed if mind is None else replace(listed, **_standing(choice, mind))


def _chosen(choice: str, mind: MindNow, cached: list[Cached]) -> Iterator[ListedModel]:
    """A chosen foreign model, whether it is there or not."""
    kind = mind_kind(choice)
    if kind is MindKind.ENDPOINT:
        address, name = endpoint_of(choice)
        found = _foreign(name or "the endpoint's model", kind="endpoint", where=address)
    elif kind is MindKind.HUB:
        here = next((model for model in cached if model.name == choice), None)
        found = _cached(here) if here else _foreign(choice, kind="hugging face", where="not on this machine")
    elif kind in (MindKind.FOLDER, MindKind.GGUF):
        path = Path(choice)
        weights = [path] if kind is MindKind.GGUF else sorted(path.glob("*.safetensors"))
        sizes = [size for size in map(_size, weights) if size is not None]
        found = _foreign(path.name, kind=kind, where=choice if sizes else f"{choice} (missing)", size_bytes=sum(sizes))
    else:
        return
    standing = _standing(choice, mind)
    yield replace(found, **standing, sha256=mind.sha256 if standing["in_use"] else found.sha256)


def _foreign(name: str, *, kind: str, where: str, size_bytes: int | None = None, sha256: str = "") -> ListedModel:
    return ListedModel(
        name=name,
        kind=kind,
        use=_CHOICE,
        state="not in use",
        size_bytes=size_bytes or None,
        sha256=sha256,
        in_use=False,
        configured=False,
        where=where,
    )


def _cached(model: Cached) -> ListedModel:
    kind = "gguf" if model.path.suffix == ".gguf" else "hugging face"
    return _foreign(model.name, kind=kind, where=str(model.path), size_bytes=model.size_bytes, sha256=model.sha256)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
