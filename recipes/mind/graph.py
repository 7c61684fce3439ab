"""Write the decoder as an ONNX graph whose weights are the 4-bit tensors of the safetensors file beside it.

The graph holds no weights: its initialisers point at byte ranges of `mind.q4.safetensors`, so the model is stored once
and read by whoever understands either format. Matrix products are `MatMulNBits`: blocks of 32 along the input, 4 bits around
8 computed in float32 (activations of 8 bits would take half the time and are 5 % off), or 8 bits around 128. Scales are
stored in half precision and given in float32 as external initialisers when the graph is loaded.

Inputs, all float32 but the first two shapes' names: `embedded` [batch, tokens, width], `cosine` and `sine`
[batch, tokens, head width], `mask` [batch, 1, tokens, past + tokens] to be added to the scores, `past_keys` and
`past_values` [layers, batch, heads, past, head width]. Outputs: `hidden` [batch, tokens, width] after the last norm,
`keys` and `values` of the new tokens [layers, batch, heads, tokens, head width].

Source: Llama as in Touvron et al. 2023, arXiv:2302.13971; rotary positions, Su et al. 2021, arXiv:2104.09864.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from recipes.mind.architecture import EPSILON, HEAD_WIDTH, HEADS, INNER_WIDTH, LAYERS, WIDTH

BLOCK = 32
_FLOAT, _BYTE = TensorProto.FLOAT, TensorProto.UINT8
_ATTENTION_WIDTH = HEADS * HEAD_WIDTH


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies in the weights file: ONNX element type, shape, first byte and length."""

    kind: int
    shape: tuple[int, ...]
    offset: int
    length: int


class _Graph:
    """Collects nodes and initialisers; every method returns the name of its result."""

    def __init__(self, stored: Mapping[str, Stored], weights: str, accuracy: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._stored = stored
        self._weights = weights
        self._accuracy = accuracy

    def put(self, kind: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, domain=domain, **attributes))
        return name

    def numbers(self, name: str, values: list[int] | list[float], scalar: bool = False) -> str:
        kind = TensorProto.INT64 if isinstance(values[0], int) else _FLOAT
        self.constants[name] = helper.make_tensor(name, kind, [] if scalar else [len(values)], values)
        return name

    def weight(self, name: str) -> str:
        at = self._stored[name]
        tensor = TensorProto(name=name, data_type=at.kind, dims=at.shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self._weights), ("offset", at.offset), ("length", at.length)):
            tensor.external_data.add(key=key, value=str(value))
        self.constants[name] = tensor
        return name

    def scale(self, name: str) -> str:
        """Stored in half precision, used in float32: whoever loads the graph gives it in full."""
        at = self._stored[name]
        self.weight(name)
        self.constants[name].data_type = _FLOAT
        self.constants[name].external_data[-1].value = str(2 * at.length)
        return name

    def product(self, given: str, name: str, wide: int, out: int, bits: int = 4) -> str:
        return self.put(
            "MatMulNBits",
            given,
            self.weight(f"{name}.q{bits}"),
            self.scale(f"{name}.scale"),
            domain="com.microsoft",
            K=wide,
            N=out,
            bits=bits,
            block_size=BLOCK,
            # 8 bits are slow in float32; their activations in 8 bits are 0.2 % off.
            accuracy_level=self._accuracy if bits == 4 else 4,
        )

    def norm(self, given: str, name: str) -> str:
        return self.put(
            "SimplifiedLayerNormalization", given, self.weight(name), axis=-1, epsilon=EPSILON, stash_type=1
        )

    def heads(self, given: str) -> str:
        """[batch, tokens, heads * width] → [batch, heads, tokens, width]."""
        shape = self.numbers("heads_shape", [0, 0, HEADS, HEAD_WIDTH])
        return self.put("Transpose", self.put("Reshape", given, shape), perm=[0, 2, 1, 3])

    def rotated(self, given: str) -> str:
        """Rotary positions on [batch, heads, tokens, width]; cosine and sine are [batch, 1, tokens, width]."""
        halves = self.put("Split", given, self.numbers("halves", [HEAD_WIDTH // 2] * 2), axis=-1)
        first, second = halves, f"{halves}_b"
        self.nodes[-1].output.append(second)
        turned = self.put("Concat", self.put("Neg", second), first, axis=-1)
        return self.put("Add", self.put("Mul", given, "cosine_heads"), self.put("Mul", turned, "sine_heads"))


def write_graph(path: Path, stored: Mapping[str, Stored], weights: str, *, accuracy: int = 1) -> None:
    """Write the graph to `path`; `weights` is the name of the file in the same folder that holds the tensors."""
    graph = _Graph(stored, weights, accuracy)
    one = graph.numbers("axis_1", [1])
    for name in ("cosine", "sine"):
        graph.nodes.append(helper.make_node("Unsqueeze", [name, one], [f"{name}_heads"], f"{name}_heads"))
    stream = "embedded"
    keys, values = [], []
    for index in range(LAYERS):
        stream, key, value = _layer(graph, stream, index)
        keys.append(key)
        values.append(value)
    last = graph.norm(stream, "model.norm.weight")
    graph.nodes.append(helper.make_node("Identity", [last], ["hidden"], "hidden"))
    zero = graph.numbers("axis_0", [0])
    for name, parts in (("keys", keys), ("values", values)):
        stacked = [graph.put("Unsqueeze", part, zero) for part in parts]
        graph.nodes.append(helper.make_node("Concat", stacked, [name], name, axis=0))
    past = [LAYERS, "batch", HEADS, "past", HEAD_WIDTH]
    fresh = [LAYERS, "batch", HEADS, "tokens", HEAD_WIDTH]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "conductor-mind",
            [
                helper.make_tensor_value_info("embedded", _FLOAT, ["batch", "tokens", WIDTH]),
                helper.make_tensor_value_info("cosine", _FLOAT, ["batch", "tokens", HEAD_WIDTH]),
                helper.make_tensor_value_info("sine", _FLOAT, ["batch", "tokens", HEAD_WIDTH]),
                helper.make_tensor_value_info("mask", _FLOAT, ["batch", 1, "tokens", "all"]),
                helper.make_tensor_value_info("past_keys", _FLOAT, past),
                helper.make_tensor_value_info("past_values", _FLOAT, past),
            ],
            [
                helper.make_tensor_value_info("hidden", _FLOAT, ["batch", "tokens", WIDTH]),
                helper.make_tensor_value_info("keys", _FLOAT, fresh),
                helper.make_tensor_value_info("values", _FLOAT, fresh),
            ],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=9,
    )
    path.write_bytes(model.SerializeToString())


def _layer(graph: _Graph, stream: str, index: int) -> tuple[str, str, str]:
    """One decoder layer: the stream after it, and the keys and values of its new tokens."""
    prefix = f"model.layers.{index}"
    flow = graph.norm(stream, f"{prefix}.input_layernorm.weight")
    joined = graph.product(flow, f"{prefix}.self_attn.qkv_proj", WIDTH, 3 * _ATTENTION_WIDTH)
    query = graph.put("Split", joined, graph.numbers("thirds", [_ATTENTION_WIDTH] * 3), axis=-1)
    graph.nodes[-1].output.extend([f"{query}_k", f"{query}_v"])
    key = graph.rotated(graph.heads(f"{query}_k"))
    value = graph.heads(f"{query}_v")
    queries = graph.rotated(graph.heads(query))
    layer = graph.numbers(f"layer_{index}", [index], scalar=True)
    all_keys = graph.put("Concat", graph.put("Gather", "past_keys", layer, axis=0), key, axis=2)
    all_values = graph.put("Concat", graph.put("Gather", "past_values", layer, axis=0), value, axis=2)
    scores = graph.put("MatMul", queries, graph.put("Transpose", all_keys, perm=[0, 1, 3, 2]))
    scaled = graph.put("Mul", scores, graph.numbers("head_scale", [HEAD_WIDTH**-0.5], scalar=True))
    weights = graph.put("Softmax", graph.put("Add", scaled, "mask"), axis=-1)
    mixed = graph.put("Transpose", graph.put("MatMul", weights, all_values), perm=[0, 2, 1, 3])
    merged = graph.put("Reshape", mixed, graph.numbers("merged_shape", [0, 0, _ATTENTION_WIDTH]))
    attended = graph.product(merged, f"{prefix}.self_attn.o_proj", _ATTENTION_WIDTH, WIDTH, bits=8)
    stream = graph.put("Add", stream, attended)
    flow = graph.norm(stream, f"{prefix}.post_attention_layernorm.weight")
    both = graph.product(flow, f"{prefix}.mlp.gate_up_proj", WIDTH, 2 * INNER_WIDTH)
    gate = graph.put("Split", both, graph.numbers("inner_halves", [INNER_WIDTH] * 2), axis=-1)
    graph.nodes[-1].output.append(f"{gate}_up")
    opened = graph.put("Mul", gate, graph.put("Sigmoid", gate))
    inner = graph.product(graph.put("Mul", opened, f"{gate}_up"), f"{prefix}.mlp.down_proj", INNER_WIDTH, WIDTH)
    return graph.put("Add", stream, inner), key, value
