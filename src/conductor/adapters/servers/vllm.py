"""How vLLM is started: pure functions from what is wanted to arguments and environment.

Flags and variables as of vLLM 0.32 (its `engine/arg_utils.py` and `envs.py`). Prompts stay out of its log, it reports to
nobody, and sampling does nothing that was not asked for (`--generation-config vllm`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conductor.domain.model import Precision
from conductor.domain.units import MIB
from conductor.serving.ports import Attention

#: How devices begin that it runs on.
CARD: Final = "cuda:"
_DTYPES: Final = {Precision.FP32: "float32", Precision.BF16: "bfloat16", Precision.FP16: "float16"}
_LONGEST_CONFIG: Final = 8 * MIB
#: It takes this share of each card at most, and does not start with less than the smallest.
_LARGEST_SHARE, _SMALLEST_SHARE = 0.92, 0.05
#: For what it measures itself while it starts (activations, graphs) beside what we estimate.
_SHARE_ABOVE: Final = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Over how many cards: each layer over `tensor` of them, the layers one after the other over `pipeline` such groups."""

    tensor: int = 1
    pipeline: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of it.

    Args:
        context_tokens: of the longest prompt and answer together; not more than the model knows.
        requests: that are computed at a time.
        quantisation: its name for how weights are rounded when they are loaded; empty leaves them as they are stored.
        memory_share: of each card; None leaves it to vLLM.
    """

    path: Path
    served_name: str
    precision: Precision
    context_tokens: int
    requests: int
    split: Split
    quantisation: str = ""
    memory_share: float | None = None


def arguments(options: Options, port: int) -> list[str]:
    """All that follows the program's name."""
    found = [
        "serve", str(options.path), "--served-model-name", options.served_name,
        "--host", "127.0.0.1", "--port", str(port), "--uvicorn-log-level", "warning",
        "--dtype", _DTYPES.get(options.precision, "auto"),
        "--max-model-len", str(options.context_tokens), "--max-num-seqs", str(options.requests),
        "--tensor-parallel-size", str(options.split.tensor), "--generation-config", "vllm",
    ]  # fmt: skip
    if options.split.pipeline > 1:
        found += ["--pipeline-parallel-size", str(options.split.pipeline)]
    if options.quantisation:
        found += ["--quantization", options.quantisation]
    if options.memory_share is not None:
        found += ["--gpu-memory-utilization", f"{options.memory_share:.2f}"]
    return found


def environment(shared: Mapping[str, str], key: str) -> dict[str, str]:
    """What it sees; the key stands here because arguments are everybody's to read."""
    return {
        **shared,
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",  # its INFO may hold prompts
    }


def split_over(cards: int, attention: Attention | None) -> Split:
    """Each layer over all cards where its heads can be shared out evenly, whole layers card by card otherwise."""
    if attention is not None and attention.heads % cards == 0:
        return Split(tensor=cards)
    return Split(pipeline=cards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How weights are held.

    Args:
        precision: that comes of it; None where the files decide.
        method: vLLM's name for rounding them when they are loaded; empty leaves them as they are.
        notes: what is otherwise than it was asked for.
    """

    precision: Precision | None
    method: str = ""
    notes: tuple[str, ...] = ()


def rounding(wanted: Precision, own: str) -> Rounding:
    """How weights are held where this was asked for.

    Its ways of rounding to 4 bits differ from version to version and card to card; FP8 all of them have.

    Args:
        own: how the files are quantised already; empty where they are not.
    """
    if own:
        note = f"the files are quantised already ({own}), which is kept instead of {wanted.value}"
        return Rounding(precision=None, notes=(note,))
    if wanted is Precision.INT8:
        return Rounding(precision=wanted, method="fp8", notes=("vLLM's 8-bit is FP8",))
    if wanted is Precision.INT4:
        note = "vLLM runs 4-bit only from files that are quantised so (AWQ, GPTQ); 8-bit (FP8) is used"
        return Rounding(precision=Precision.INT8, method="fp8", notes=(note,))
    return Rounding(precision=wanted)


def own_quantisation(folder: Path) -> str:
    """How a model's files are quantised, by its `config.json`; empty where they are not, or nothing says. Blocking."""
    try:
        with (folder / "config.json").open("rb") as file:
            config = json.loads(file.read(_LONGEST_CONFIG))
        return str(config["quantization_config"]["quant_method"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def memory_share(needed_bytes: int, cards: Sequence[str], card_bytes: Mapping[str, int]) -> float | None:
    """The share of each card that it may take: vLLM takes all of what it is given. None where a card's memory is unknown."""
    sizes = [card_bytes.get(card, 0) for card in cards]
    if not sizes or not all(sizes):
        return None
    share = needed_bytes * _SHARE_ABOVE / len(sizes) / min(sizes)
    return min(max(share, _SMALLEST_SHARE), _LARGEST_SHARE)
