"""Turn the encoder's six bidirectional layers into the starting point of a twelve-layer Llama decoder.

A post-norm BERT layer and a pre-norm Llama layer are more alike than they look:

- `LN(u) = gain * (u - mean) / deviation + bias`. With the mean of the data in place of mean and deviation this is a
  fixed affine map per channel, so the normalised stream is `scale * h + shift` of an unnormalised one that layers only
  add to; what a layer writes is divided by the scale at that point.
- `gelu(x)` is `silu(1.702 x) / 1.702` to two digits, and a SwiGLU whose `up` is one computes just that.
- Llama has no biases: one extra channel holds a constant, and biases are read from it.
- Each BERT layer becomes two: half of its heads and half of its inner units each.

What a layer reads is not derived but fitted: a ridge regression from the decoder's own normalised stream, over real
texts and after all layers before it, to what the encoder's layer read there. That absorbs what the above leaves out.
Learned positions are replaced by their mean; that attention may not look ahead is left to training.

Source of the idea that such a start beats a random one: measured in docs/lab-log.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from recipes.encoder.batches import padded
from recipes.encoder.model import TaskEncoder
from recipes.mind.architecture import BASE_WIDTH, HEAD_WIDTH, INNER_WIDTH, LAYERS, configuration
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertModel, LlamaForCausalLM

CONSTANT_CHANNEL = BASE_WIDTH
_CONSTANT = 2.0
_SILU_SCALE = 1.702
_RIDGE = 1e-2
_MEAN_POSITIONS = 24
#: Heads of a decoder layer that come from the encoder; the others start fresh and write nothing at first.
_OLD_HEADS = 6
_FRESH_SPREAD = 0.05


@dataclass(slots=True)
class _Watched:
    """What flowed through the encoder at one layer: [tokens, width] each."""

    attention_input: Tensor
    inner_input: Tensor


@dataclass(slots=True)
class _Norms:
    """Gain, bias, mean of the deviation's inverse and of the mean, of every layer norm in order."""

    rows: list[tuple[Tensor, Tensor, float, float]] = field(default_factory=list)


@torch.no_grad()
def transplant(encoder: TaskEncoder, tokenizer: Tokenizer, texts: Sequence[str]) -> LlamaForCausalLM:
    """A decoder that computes roughly what the encoder does, from left to right.

    Args:
        encoder: the fitted sentence encoder.
        tokenizer: the one both share.
        texts: a few thousand real ones to fit the readers on.
    """
    bert = encoder.bert.eval()
    ids, mask = padded(tokenizer, texts, 48)
    watched, norms = _watch(bert, ids, mask)
    llama = LlamaForCausalLM(configuration(bert.config.vocab_size)).eval()
    for name, parameter in llama.named_parameters():
        parameter.zero_() if "norm" not in name else parameter.fill_(1.0)
    llama.model.embed_tokens.weight[:, :BASE_WIDTH] = embeddings_of(bert)
    llama.model.embed_tokens.weight[:, CONSTANT_CHANNEL] = _CONSTANT
    _fill(llama, bert, ids, mask.bool(), watched, norms)
    return llama


def embeddings_of(bert: BertModel) -> Tensor:
    """[vocabulary, width]: word, mean position and segment, normalised as the encoder does."""
    table = bert.embeddings
    total = table.word_embeddings.weight + table.token_type_embeddings.weight[0]
    return table.LayerNorm(total + table.position_embeddings.weight[1:_MEAN_POSITIONS].mean(0))


def _watch(bert: BertModel, ids: Tensor, mask: Tensor) -> tuple[list[_Watched], _Norms]:
    """Run the encoder and keep what its layers read and what its norms divided by."""
    seen: dict[str, Tensor] = {}
    hooks = []
    for index, layer in enumerate(bert.encoder.layer):
        hooks.append(layer.attention.self.query.register_forward_pre_hook(_keeper(seen, f"{index} attention")))
        hooks.append(layer.intermediate.dense.register_forward_pre_hook(_keeper(seen, f"{index} inner")))
        hooks.append(layer.attention.output.LayerNorm.register_forward_pre_hook(_keeper(seen, f"{index} norm 1")))
        hooks.append(layer.output.LayerNorm.register_forward_pre_hook(_keeper(seen, f"{index} norm 2")))
    bert(input_ids=ids, attention_mask=mask)
    for hook in hooks:
        hook.remove()
    real = mask.bool()
    watched, norms = [], _Norms()
    for index, layer in enumerate(bert.encoder.layer):
        watched.append(_Watched(seen[f"{index} attention"][real], seen[f"{index} inner"][real]))
        for name, norm in (("norm 1", layer.attention.output.LayerNorm), ("norm 2", layer.output.LayerNorm)):
            flow = seen[f"{index} {name}"][real]  # [tokens, width]
            inverse = (1.0 / (flow.std(1, correction=0) + 1e-9)).mean().item()
            norms.rows.append((norm.weight.clone(), norm.bias.clone(), inverse, flow.mean().item()))
    return watched, norms


def _keeper(seen: dict[str, Tensor], name: str):  # type: ignore[no-untyped-def]
    def keep(module, arguments):  # type: ignore[no-untyped-def]
        seen[name] = arguments[0].detach()

    return keep


def _fill(
    llama: LlamaForCausalLM, bert: BertModel, ids: Tensor, real: Tensor, watched: Sequence[_Watched], norms: _Norms
) -> None:
    """Set the decoder's layers one after the other, running it as far as it is set."""
    hidden = llama.model.embed_tokens(ids)  # [texts, tokens, width]
    positions = torch.arange(ids.shape[1])[None]
    rotation = llama.model.rotary_emb(hidden, positions)
    causal = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)[None, None]
    scale = torch.ones(BASE_WIDTH)
    per_layer = LAYERS // len(bert.encoder.layer)
    for index in range(LAYERS):
        source, half = divmod(index, per_layer)
        layer, origin = llama.model.layers[index], bert.encoder.layer[source]
        gain, _, inverse, _ = norms.rows[2 * source]
        inner_scale = scale * gain * inverse
        flow = layer.input_layernorm(hidden)
        reader = _reader(flow[real], watched[source].attention_input)
        _set_attention(layer, origin, reader, scale, half, flow[real][:, CONSTANT_CHANNEL].mean().item())
        hidden = hidden + layer.self_attn(flow, rotation, causal)[0]
        flow = layer.post_attention_layernorm(hidden)
        reader = _reader(flow[real], watched[source].inner_input)
        constant = flow[real][:, CONSTANT_CHANNEL].mean().item()
        _set_inner(layer, origin, reader, inner_scale, half, constant)
        hidden = hidden + layer.mlp(flow)
        if half == per_layer - 1:
            gain, _, inverse, _ = norms.rows[2 * source + 1]
            scale = inner_scale * gain * inverse


def _reader(stream: Tensor, wanted: Tensor) -> Tensor:
    """[WIDTH, BASE_WIDTH]: the linear map from the decoder's stream to what the encoder read, by ridge regression."""
    stream, wanted = stream.double(), wanted.double()
    gram = stream.T @ stream
    gram.diagonal().add_(_RIDGE * len(stream))
    return torch.linalg.solve(gram, stream.T @ wanted).float()


def _set_attention(layer, origin, reader: Tensor, scale: Tensor, half: int, constant: float) -> None:  # type: ignore[no-untyped-def]
    old = _OLD_HEADS * HEAD_WIDTH
    mine = slice(half * old, (half + 1) * old)
    own, source = layer.self_attn, origin.attention.self
    for target, linear in ((own.q_proj, source.query), (own.k_proj, source.key), (own.v_proj, source.value)):
        target.weight.normal_(0, _FRESH_SPREAD)
        weight = linear.weight[mine] @ reader.T  # [old heads * head width, WIDTH]
        weight[:, CONSTANT_CHANNEL] += linear.bias[mine] / constant
        target.weight[:old] = weight
    out = origin.attention.output.dense
    own.o_proj.weight[:BASE_WIDTH, :old] = out.weight[:, mine] / scale[:, None]


def _set_inner(layer, origin, reader: Tensor, scale: Tensor, half: int, constant: float) -> None:  # type: ignore[no-untyped-def]
    mine = slice(half * INNER_WIDTH, (half + 1) * INNER_WIDTH)
    first, second = origin.intermediate.dense, origin.output.dense
    gate = first.weight[mine] @ reader.T
    gate[:, CONSTANT_CHANNEL] += first.bias[mine] / constant
    layer.mlp.gate_proj.weight.copy_(_SILU_SCALE * gate)
    layer.mlp.up_proj.weight[:, CONSTANT_CHANNEL] = 1.0 / constant
    layer.mlp.down_proj.weight[:BASE_WIDTH] = second.weight[:, mine] / _SILU_SCALE / scale[:, None]
