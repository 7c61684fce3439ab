"""Train the language model on the decision form: the loss, one fit, and reading the form with the fitted network.

The loss of an answer is taken over the answers of its field only, and of a cue token over the tokens of the batch: the
grammar never allows others, so nothing has to be learned about them. Orchestration is `train.py`.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from recipes.encoder.augment import altered
from recipes.encoder.batches import batches_by_length
from recipes.encoder.fit import Ground
from recipes.mind.architecture import Answers, answers
from recipes.mind.examples import Example, answers_of, hurried
from recipes.mind.sequences import Batch, Layout
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM

BEST_WEIGHT = 0.2
SMOOTHING = 0.03
#: How much the loss of kind, priority, units, duration and cues counts beside the device's.
WEIGHTS = (0.3, 0.1, 0.1, 0.1)
CUE_WEIGHT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the network is fitted; the defaults are what was shipped."""

    epochs: int = 4
    batch: int = 32
    rate: float = 4e-4
    layer_decay: float = 0.93
    warmup: float = 0.06
    weight_decay: float = 0.01
    seed: int = 1


def fit(
    model: LlamaForCausalLM,
    ground: Ground,
    rows: Sequence[Example],
    settings: Settings,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> LlamaForCausalLM:
    """Fit `model` in place to the examples."""
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    form = answers(ground.tokenizer)
    layout = Layout(ground.tokenizer, form)
    lengths = [len(encoding.ids) for encoding in ground.tokenizer.encode_batch([row.text for row in rows])]
    steps = settings.epochs * -(-len(rows) // settings.batch)
    parts = optimizers(model, settings)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(part, lambda step: ramp(step / steps, settings.warmup)) for part in parts
    ]
    dense = [parameter for name, parameter in model.named_parameters() if "embed" not in name]
    began = time.perf_counter()
    for epoch in range(settings.epochs):
        model.train()
        total = count = 0
        for chosen in batches_by_length(lengths, settings.batch, rng):
            some = [rows[index] for index in chosen]
            texts = [altered(hurried(row.text, rng), rng, ground.foreign) for row in some]
            batch = layout.batch(
                texts, [answers_of(t, row) for t, row in zip(texts, some, strict=True)], [row.cues for row in some]
            )
            accept = torch.from_numpy(np.stack([row.accept for row in some]))
            loss = loss_of(model, form, batch, accept)
            model.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(dense, 1.0)
            for part in (*parts, *schedules):
                part.step()
            total, count = total + loss.item(), count + 1
        print(f"epoch {epoch + 1}: loss {total / count:.3f}, {time.perf_counter() - began:.0f} s", flush=True)
        after_epoch(epoch)
    return model


def loss_of(model: LlamaForCausalLM, form: Answers, batch: Batch, accept: Tensor) -> Tensor:
    """Weighted loss of a batch; the device's is the probability mass on accepted devices."""
    logits, cue_logits, cue_targets = _forward(model, form, batch)
    log_p = logits[0].log_softmax(1)
    on_accepted = -torch.logsumexp(log_p.masked_fill(accept == 0, -1e4), dim=1).mean()
    on_best = functional.nll_loss(log_p, batch.answers[:, 0])
    loss = (1 - SMOOTHING) * (on_accepted + BEST_WEIGHT * on_best) - SMOOTHING * log_p.mean()
    for number, weight in enumerate(WEIGHTS, 1):
        loss = loss + weight * functional.cross_entropy(
            logits[number], batch.answers[:, number], label_smoothing=SMOOTHING
        )
    return loss + CUE_WEIGHT * functional.cross_entropy(cue_logits, cue_targets)


def field_logits(model: LlamaForCausalLM, form: Answers, batch: Batch) -> list[Tensor]:
    """Logits of the answers of every field, [batch, answers] each."""
    return _forward(model, form, batch)[0]


def _forward(model: LlamaForCausalLM, form: Answers, batch: Batch) -> tuple[list[Tensor], Tensor, Tensor]:
    """Logits of every field, logits of the cue tokens among the batch's tokens, and which of these are right."""
    tokens, where = torch.unique(torch.cat([batch.ids.flatten(), batch.cue_tokens]), return_inverse=True)
    used = torch.cat([torch.tensor([token for field in form.fields for token in field]), tokens])
    # Only the rows in use are touched: a gradient as large as the vocabulary would cost a third of every step.
    table = functional.embedding(used, model.model.embed_tokens.weight, sparse=True)
    *columns, words = table.split([*(len(field) for field in form.fields), len(tokens)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedded = words[where[: batch.ids.numel()].view_as(batch.ids)]
        hidden = model.model(inputs_embeds=embedded).last_hidden_state.float()  # [batch, tokens, width]
    rows = torch.arange(len(batch.at))
    logits = [hidden[rows, batch.at + number] @ column.T for number, column in enumerate(columns)]
    cues = hidden[batch.cue_places[:, 0], batch.cue_places[:, 1]] @ words.T
    return logits, cues, where[batch.ids.numel() :]


@torch.no_grad()
def device_logits(model: LlamaForCausalLM, ground: Ground, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Logits of device and kind for many texts, in their order; kind after the likeliest device."""
    model.eval()
    form = answers(ground.tokenizer)
    layout = Layout(ground.tokenizer, form)
    table = model.model.embed_tokens.weight
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    devices, kinds = [], []
    for start in range(0, len(order), 64):
        some = [texts[index] for index in order[start : start + 64]]
        batch = layout.batch(some, [(0,) * 5] * len(some), [()] * len(some))
        rows = torch.arange(len(some))
        device = model.model(input_ids=batch.ids).last_hidden_state[rows, batch.at] @ table[list(form.device)].T
        devices.append(device)
        batch.ids[rows, batch.at + 1] = torch.tensor(form.device)[device.argmax(1)]
        hidden = model.model(input_ids=batch.ids).last_hidden_state
        kinds.append(hidden[rows, batch.at + 1] @ table[list(form.kind)].T)
    back = torch.tensor(np.argsort(order))
    return torch.cat(devices)[back], torch.cat(kinds)[back]


def optimizers(model: LlamaForCausalLM, settings: Settings) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Lower layers, which come from the encoder and are general, learn more slowly; the vocabulary learns sparsely."""
    groups: dict[float, list[torch.nn.Parameter]] = {}
    depth = len(model.model.layers)
    for name, parameter in model.named_parameters():
        if "embed" not in name:
            place = int(name.split(".")[2]) + 1 if ".layers." in name else depth
            groups.setdefault(settings.rate * settings.layer_decay ** (depth - place), []).append(parameter)
    dense = [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
    table = [model.model.embed_tokens.weight]
    return (
        torch.optim.AdamW(dense, weight_decay=settings.weight_decay, fused=True),
        torch.optim.SparseAdam(table, lr=settings.rate * settings.layer_decay**depth),
    )


def ramp(progress: float, warmup: float) -> float:
    """Linear up, then linear down to zero."""
    return progress / warmup if progress < warmup else max(0.0, (1.0 - progress) / (1.0 - warmup))
