"""Teach the network to live with 4-bit weights: rounding in the forward pass, the unrounded network as its teacher.

The scales are fixed when it starts, so that what was trained is exactly what is stored.
"""

import copy
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from recipes.encoder.augment import altered
from recipes.encoder.batches import batches_by_length
from recipes.encoder.fit import Ground
from recipes.mind.architecture import answers
from recipes.mind.examples import Example, answers_of, hurried
from recipes.mind.fit import Settings, field_logits, optimizers, ramp
from recipes.mind.quantise import rounded, scales_of, straight_through
from recipes.mind.sequences import Layout
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from transformers import LlamaForCausalLM


class _Rounding(nn.Module):
    """A weight seen through its 4-bit numbers."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, weight: Tensor) -> Tensor:
        return straight_through(weight, self.scale)


@dataclass(frozen=True, slots=True)
class Rounded:
    """A network whose matrices are what 4 bits can say, with the scale of each parameter by name."""

    model: LlamaForCausalLM
    scales: Mapping[str, Tensor]


@torch.no_grad()
def round_at_once(model: LlamaForCausalLM) -> Rounded:
    """Round every matrix to the nearest numbers, without training."""
    copied = copy.deepcopy(model)
    scales = {name: scales_of(parameter) for name, parameter in copied.named_parameters() if parameter.dim() == 2}
    for name, parameter in copied.named_parameters():
        if name in scales:
            parameter.copy_(rounded(parameter, scales[name]))
    return Rounded(copied, scales)


def round_with_training(
    teacher: LlamaForCausalLM,
    ground: Ground,
    rows: Sequence[Example],
    extra: Sequence[str],
    settings: Settings,
    after_epoch: Callable[[Rounded], None] = lambda found: None,
) -> Rounded:
    """Round while training to answer as the teacher does.

    Args:
        rows: labelled examples; their texts are altered anew each time.
        extra: texts without labels.
    """
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    teacher.eval()
    student = copy.deepcopy(teacher)
    scales = {name: scales_of(parameter) for name, parameter in student.named_parameters() if parameter.dim() == 2}
    for name, module in student.named_modules():
        if isinstance(module, nn.Linear) and f"{name}.weight" in scales:
            parametrize.register_parametrization(module, "weight", _Rounding(scales[f"{name}.weight"]))
    form = answers(ground.tokenizer)
    layout = Layout(ground.tokenizer, form)
    texts = [row.text for row in rows] + list(extra)
    lengths = [len(encoding.ids) for encoding in ground.tokenizer.encode_batch(texts)]
    parts = optimizers(student, settings)
    steps = settings.epochs * -(-len(texts) // settings.batch)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(part, lambda step: ramp(step / steps, settings.warmup)) for part in parts
    ]
    table = scales["model.embed_tokens.weight"]
    began = time.perf_counter()
    for epoch in range(settings.epochs):
        total = count = 0
        for chosen in batches_by_length(lengths, settings.batch, rng):
            some = [altered(hurried(texts[index], rng), rng, ground.foreign) for index in chosen]
            with torch.no_grad():
                free = layout.batch(some, [(0,) * 5] * len(some), [()] * len(some))
                first = field_logits(teacher, form, free)[0].argmax(1).tolist()
            known = [rows[index] if index < len(rows) else None for index in chosen]
            filled = [
                answers_of(text, row) if row else (device, 0, 2, 2, 2)
                for text, row, device in zip(some, known, first, strict=True)
            ]
            batch = layout.batch(some, filled, [row.cues if row else () for row in known])
            with torch.no_grad():
                wanted = field_logits(teacher, form, batch)
            loss = torch.zeros(())
            for mine, theirs in zip(field_logits(student, form, batch, table), wanted, strict=True):
                loss = loss + functional.kl_div(
                    mine.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="batchmean"
                )
            student.zero_grad(set_to_none=True)
            loss.backward()
            for part in (*parts, *schedules):
                part.step()
            total, count = total + loss.item(), count + 1
        print(f"rounding, epoch {epoch + 1}: {total / count:.4f}, {time.perf_counter() - began:.0f} s", flush=True)
        after_epoch(_finished(student, scales))
    return _finished(student, scales)


@torch.no_grad()
def _finished(student: LlamaForCausalLM, scales: Mapping[str, Tensor]) -> Rounded:
    """A plain network with the rounded weights of a student."""
    weights = {}
    for name, tensor in student.state_dict().items():
        plain = name.replace("parametrizations.weight.original", "weight")
        if not name.endswith(".scale"):
            weights[plain] = rounded(tensor, scales[plain]) if plain in scales else tensor.clone()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model = LlamaForCausalLM(student.config)
    model.load_state_dict(weights)
    return Rounded(model.eval(), scales)
