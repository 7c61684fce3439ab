"""Write the shipped model: 4-bit safetensors, the graph that runs it, tokenizer and card.

Tensor names are those of Hugging Face with `.q4` or `.q8` (codes) and `.scale` behind them; queries, keys and values stand
in one matrix, gate and up in another, because they are multiplied together.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from recipes.mind.architecture import ROPE_THETA, answers
from recipes.mind.graph import Stored, write_graph
from recipes.mind.quantise import codes, codes_of_8_bits
from recipes.mind.rounding import KEPT_IN_8_BITS, VOCABULARY, Rounded
from recipes.mind.sequences import END, SEPARATOR
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from torch import Tensor

from conductor.adapters.mind_llama.model import GRAPH, TOKENIZER, WEIGHTS
from conductor.adapters.model_card import CARD
from conductor.decisions.form import DEVICES, DURATIONS, KINDS, PRIORITIES, UNITS

FIELDS: Final = ("device", "task_kind", "priority", "compute_units", "duration_s")
_TYPES: Final = {"F32": 1, "U8": 2, "F16": 10}


def _matrices(found: Rounded) -> dict[str, tuple[Tensor, Tensor]]:
    """Every matrix under its stored name: [out, in] weights and [out, blocks] scales."""
    weights = dict(found.model.named_parameters())

    def joined(prefix: str, *names: str) -> tuple[Tensor, Tensor]:
        full = [f"{prefix}.{name}.weight" for name in names]
        return torch.cat([weights[name].detach() for name in full]), torch.cat([found.scales[name] for name in full])

    matrices = {}
    for index in range(len(found.model.model.layers)):
        prefix = f"model.layers.{index}"
        matrices[f"{prefix}.self_attn.qkv_proj"] = joined(f"{prefix}.self_attn", "q_proj", "k_proj", "v_proj")
        matrices[f"{prefix}.self_attn.o_proj"] = joined(f"{prefix}.self_attn", "o_proj")
        matrices[f"{prefix}.mlp.gate_up_proj"] = joined(f"{prefix}.mlp", "gate_proj", "up_proj")
        matrices[f"{prefix}.mlp.down_proj"] = joined(f"{prefix}.mlp", "down_proj")
    return matrices


def write_weights(found: Rounded, folder: Path) -> None:
    """Write weights and graph into `folder`."""
    tensors = {
        name: parameter.detach().float().numpy() for name, parameter in found.model.named_parameters() if "norm" in name
    }
    for name, (weight, scale) in _matrices(found).items():
        if name.endswith(KEPT_IN_8_BITS):
            tensors[f"{name}.q8"] = codes_of_8_bits(weight, scale).numpy()
        else:
            tensors[f"{name}.q4"] = codes(weight, scale).numpy()
        tensors[f"{name}.scale"] = scale.numpy().astype(np.float16)
    scale = found.scales[VOCABULARY]
    tensors["model.embed_tokens.q8"] = codes_of_8_bits(found.model.model.embed_tokens.weight.detach(), scale).numpy()
    tensors["model.embed_tokens.scale"] = scale.numpy().astype(np.float16)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "q4: blocks of 32 around 8; q8: blocks of 32 around 128"})
    write_graph(folder / GRAPH, stored(folder / WEIGHTS), WEIGHTS)


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer into `folder`."""
    (folder / TOKENIZER).write_text(tokenizer.to_str(), encoding="utf-8")


def write_card(
    folder: Path,
    facts: Mapping[str, object],
    tokenizer: Tokenizer,
    temperatures: Mapping[str, float],
    pooling: Mapping[str, float],
) -> None:
    """Write `card.json`: digests of the files, the form as this model speaks it, and the `facts` of its training."""
    spoken = answers(tokenizer)
    card = {
        **facts,
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (WEIGHTS, GRAPH, TOKENIZER)
        },
        "rope_theta": ROPE_THETA,
        "form": {
            "tokens": dict(zip(FIELDS, spoken.fields, strict=True)),
            "answers": {
                "device": [str(device) for device in DEVICES],
                "task_kind": [str(kind) for kind in KINDS],
                "priority": PRIORITIES,
                "compute_units": UNITS,
                "duration_s": [seconds for seconds, _ in DURATIONS],
            },
            "separator": tokenizer.token_to_id(SEPARATOR),
            "begin": tokenizer.token_to_id("[CLS]"),
            "end": END,
            "pooling": pooling,
            "temperatures": {name: round(value, 4) for name, value in temperatures.items()},
        },
    }
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def stored(path: Path) -> dict[str, Stored]:
    """Where each tensor of a safetensors file lies."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {
        name: Stored(
            _TYPES[entry["dtype"]],
            tuple(entry["shape"]),
            8 + length + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] in _TYPES
    }
