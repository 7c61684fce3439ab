"""Round the network: matrices to 4 bits with error compensation; the vocabulary and what attention puts out to 8.

Columns of a matrix are rounded one after the other, and what the rounding of one column does to the outputs is made good by
those that follow, as far as the inputs seen on real texts allow. Layers are rounded in order, each on what the rounded
layers before it put out. The vocabulary cannot be treated so (its input is a single one) and is read and answered with
alike: it keeps 8 bits, as GGUF's own mixtures keep more for it. So does the output of attention, a fifteenth of the
weights, where 4 bits cost most for their number.

Last, the norms' gains, which stay in 32 bits, are trained for a moment to answer as the unrounded network does.

Rounding while training was tried first and was worse (docs/lab-log.md). Source: GPTQ, Frantar et al. 2023,
arXiv:2210.17323; norm tweaking, Li et al. 2023, arXiv:2309.02784.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from recipes.mind.architecture import Answers
from recipes.mind.fit import field_logits
from recipes.mind.quantise import BLOCK, rounded, rounded_to_8_bits, scales_of, scales_of_8_bits
from recipes.mind.sequences import Batch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

#: Added to the diagonal of the inputs' second moments, as a share of its mean.
_DAMPING: Final = 0.01
_GAIN_RATE: Final = 5e-4
VOCABULARY: Final = "model.embed_tokens.weight"
KEPT_IN_8_BITS: Final = "self_attn.o_proj"


@dataclass(frozen=True, slots=True)
class Rounded:
    """A network whose weights are what the stored bits can say, with the scales of each matrix by parameter name."""

    model: LlamaForCausalLM
    scales: Mapping[str, Tensor]


@torch.no_grad()
def round_at_once(model: LlamaForCausalLM) -> Rounded:
    """Every weight to its nearest number."""
    copied, scales = _with_rounded_vocabulary(model)
    for name, parameter in copied.named_parameters():
        if parameter.dim() != 2 or name == VOCABULARY:
            continue
        if name.endswith(f"{KEPT_IN_8_BITS}.weight"):
            weight, scales[name] = _to_8_bits(parameter)
        else:
            scales[name] = scales_of(parameter)
            weight = rounded(parameter, scales[name])
        parameter.copy_(weight)
    return Rounded(copied, scales)


@torch.no_grad()
def round_with_compensation(model: LlamaForCausalLM, ids: Tensor) -> Rounded:
    """Every matrix so that its outputs stay close on sequences like these.

    Args:
        ids: int64 [texts, tokens], zero on the right where a sequence is shorter.
    """
    copied, scales = _with_rounded_vocabulary(model)
    copied.eval()
    real = ids != 0
    hidden = copied.model.embed_tokens(ids)  # [texts, tokens, width]
    rotation = copied.model.rotary_emb(hidden, torch.arange(ids.shape[1])[None])
    causal = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)[None, None]
    for index, layer in enumerate(copied.model.layers):
        moments = _input_moments(layer, hidden, rotation, causal, real)
        for name, module in layer.named_modules():
            if isinstance(module, nn.Linear):
                weight, scale = (
                    _to_8_bits(module.weight)
                    if name.endswith(KEPT_IN_8_BITS)
                    else _compensated(module.weight, moments[name])
                )
                module.weight.copy_(weight)
                scales[f"model.layers.{index}.{name}.weight"] = scale
        hidden = _through(layer, hidden, rotation, causal)
    return Rounded(copied, scales)


def tweak_norms(rounded_network: Rounded, teacher: LlamaForCausalLM, form: Answers, batches: Sequence[Batch]) -> None:
    """Train the gains of the norms, in place, so that the answers come closer to the teacher's; one step per batch."""
    student = rounded_network.model
    gains = [parameter for name, parameter in student.named_parameters() if "norm" in name]
    for parameter in student.parameters():
        parameter.requires_grad_(False)
    for gain in gains:
        gain.requires_grad_(True)
    optimizer = torch.optim.Adam(gains, lr=_GAIN_RATE)
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = _GAIN_RATE * (1 - step / len(batches))
        with torch.no_grad():
            wanted = field_logits(teacher, form, batch)
        loss = torch.zeros(())
        for mine, theirs in zip(field_logits(student, form, batch), wanted, strict=True):
            loss = loss + functional.kl_div(
                mine.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="batchmean"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            print(f"gains, step {step}: {loss.item():.4f}", flush=True)


def _with_rounded_vocabulary(model: LlamaForCausalLM) -> tuple[LlamaForCausalLM, dict[str, Tensor]]:
    copied = copy.deepcopy(model)
    table, scale = _to_8_bits(copied.model.embed_tokens.weight)
    copied.model.embed_tokens.weight.copy_(table)
    return copied, {VOCABULARY: scale}


def _to_8_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = scales_of_8_bits(weight)
    return rounded_to_8_bits(weight, scale), scale


def _through(layer: LlamaDecoderLayer, hidden: Tensor, rotation: tuple[Tensor, Tensor], causal: Tensor) -> Tensor:
    hidden = hidden + layer.self_attn(layer.input_layernorm(hidden), rotation, causal)[0]
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


def _input_moments(
    layer: LlamaDecoderLayer, hidden: Tensor, rotation: tuple[Tensor, Tensor], causal: Tensor, real: Tensor
) -> dict[str, Tensor]:
    """Second moments [in, in] of what each linear map of a layer reads at real tokens."""
    moments: dict[str, Tensor] = {}

    def keeper(name: str):  # type: ignore[no-untyped-def]
        def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            flow = arguments[0][real].double()
            moments[name] = flow.T @ flow

        return keep

    hooks = [
        module.register_forward_pre_hook(keeper(name))
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    ]
    _through(layer, hidden, rotation, causal)
    for hook in hooks:
        hook.remove()
    return moments


def _compensated(weight: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
    """[out, in] weights on the 4-bit grid, and their [out, blocks] scales."""
    moments = moments + torch.eye(len(moments)) * _DAMPING * moments.diagonal().mean()
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(moments)), upper=True).float()
    left = weight.detach().clone()
    done, scales = torch.empty_like(left), []
    for start in range(0, left.shape[1], BLOCK):
        end = start + BLOCK
        scale = scales_of(left[:, start:end])  # [out, 1]
        scales.append(scale)
        errors = torch.empty(len(left), BLOCK)
        for column in range(start, end):
            done[:, column] = rounded_column(left[:, column], scale[:, 0])
            error = (left[:, column] - done[:, column]) / factor[column, column]
            left[:, column + 1 : end] -= error[:, None] * factor[column, column + 1 : end]
            errors[:, column - start] = error
        left[:, end:] -= errors @ factor[start:end, end:]
    return done, torch.cat(scales, dim=1)


def rounded_column(column: Tensor, scale: Tensor) -> Tensor:
    """One weight per row to its nearest number."""
    safe = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (column / safe).round().clamp(-8, 7) * scale
