"""Write the fitted network as the product loads it: an int8 ONNX graph, its tokenizer, and a card with their digests.

Matrix products and the embedding table are stored in 8 bits. Each block of 32 weights has its own scale and activations
are scaled row by row, so that a text is judged the same whoever shares its batch. Plain dynamic quantisation scales
over the whole batch: it was tried, is 1.5 times as fast, and let 2 texts in 100 change their device (docs/lab-log.md).
What the files mean to the product is `conductor.adapters.encoder_onnx`.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from recipes.encoder.batches import padded
from recipes.encoder.model import TaskEncoder
from tokenizers import Tokenizer

WEIGHTS = "encoder.int8.onnx"
TOKENIZER = "tokenizer.json"
LETTERS = "letters.npz"
CARD = "card.json"
BLOCK = 32
INT8_PRODUCTS = 4  # `accuracy_level` of the MatMulNBits operator
SHIPPED = Path(__file__).parents[2] / "src" / "conductor" / "adapters" / "encoder_onnx"


def export(model: TaskEncoder, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights and tokenizer into `folder`; the letter expert is written by `letters.write_letters`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        plain, packed = Path(scratch, "plain.onnx"), Path(scratch, "packed.onnx")
        _write_float(model.eval(), tokenizer, plain)
        matrices = MatMulNBitsQuantizer(
            onnx.load(plain), bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=INT8_PRODUCTS
        )
        matrices.process()
        onnx.save(matrices.model.model, packed)
        quantize_dynamic(packed, folder / WEIGHTS, op_types_to_quantize=["Gather"], weight_type=QuantType.QInt8)
    tokenizer.save(str(folder / TOKENIZER), pretty=False)


def _write_float(model: TaskEncoder, tokenizer: Tokenizer, path: Path) -> None:
    ids, mask = padded(tokenizer, ["encode this clip to h264", "train a network"])
    axes = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        model,
        (ids, mask),
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=["embedding", "device_logits", "kind_logits"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes},
        opset_version=18,
        # The newer exporter names an inner value `embedding` too and writes a graph that does not load (torch 2.13).
        dynamo=False,
    )


def write_card(folder: Path, facts: Mapping[str, object]) -> None:
    """Write `card.json` beside the weights: their digests and the `facts` of this training."""
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (WEIGHTS, TOKENIZER, LETTERS)}
    text = json.dumps({**facts, "sha256": files}, indent=2, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
