"""Fit the network: where every run starts from, one fit per seed, and the mean of several.

Orchestration, calibration and shipping are `train.py`; the network and its loss are `model.py`.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from recipes.encoder import lexicon
from recipes.encoder.augment import altered
from recipes.encoder.base import extended_tokenizer, fetch_base, plain_tokenizer
from recipes.encoder.batches import batches_by_length, padded
from recipes.encoder.data import DEVICES, KINDS, Row, general_sentences, targets, training_rows
from recipes.encoder.model import TaskEncoder, loss_of
from tokenizers import Tokenizer
from torch import Tensor

CACHE = Path.home() / ".cache" / "conductor-recipes"
LAYERS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one network is fitted; the defaults are what was shipped."""

    epochs: int = 5
    batch: int = 32
    rate: float = 4e-4
    head_rate: float = 1e-3
    layer_decay: float = 0.85
    warmup: float = 0.1
    keep_weight: float = 1.0
    weight_decay: float = 0.01
    augment: bool = True
    seeds: tuple[int, ...] = field(default=(1, 2))


@dataclass(frozen=True, slots=True)
class Ground:
    """What every fit starts from: the base, the tokenizer, and the base's own embeddings to stay near to."""

    base_folder: Path
    tokenizer: Tokenizer
    new_rows: list[list[int]]
    foreign: Mapping[str, Sequence[str]]


def prepare() -> Ground:
    """Fetch the base and extend its vocabulary by the lexicon."""
    folder = fetch_base(CACHE)
    known = frozenset(plain_tokenizer(folder).get_vocab())
    new_tokens = lexicon.new_tokens() + lexicon.frequent_characters(training_rows(), known)
    tokenizer, new_rows = extended_tokenizer(folder, new_tokens)
    return Ground(folder, tokenizer, new_rows, lexicon.by_english_word())


def base_embeddings(ground: Ground, texts: Sequence[str]) -> Tensor:
    """float32 [texts, width]: what the untouched base says, to be kept by the fitted network."""
    frozen = TaskEncoder(ground.base_folder, [], len(DEVICES), len(KINDS)).eval()
    return forward(frozen, plain_tokenizer(ground.base_folder), texts)[0]


@torch.no_grad()
def forward(model: TaskEncoder, tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, device logits and kind logits of many texts, in their order."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    parts = [model(*padded(tokenizer, [texts[i] for i in order[at : at + 64]])) for at in range(0, len(order), 64)]
    back = torch.tensor(np.argsort(order))
    embedding, device, kind = (torch.cat(columns)[back] for columns in zip(*parts, strict=True))
    return embedding, device, kind


def fit(ground: Ground, rows: Sequence[Row], settings: Settings, seed: int) -> TaskEncoder:
    """One network fitted to `rows`; the same seed gives the same weights on the same machine."""
    torch.manual_seed(0)  # the same heads for every seed: only networks that start together can be averaged
    model = TaskEncoder(ground.base_folder, ground.new_rows, len(DEVICES), len(KINDS))
    torch.manual_seed(seed)
    rng = random.Random(seed)
    texts = [row.text for row in rows] + general_sentences()
    keep = base_embeddings(ground, texts)
    accept, best, kind = _labels(rows, len(texts))
    lengths = [len(encoding.ids) for encoding in ground.tokenizer.encode_batch(texts)]
    optimizer = torch.optim.AdamW(_groups(model, settings), weight_decay=settings.weight_decay, fused=True)
    steps = settings.epochs * -(-len(texts) // settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _ramp(step / steps, settings.warmup))
    began, done = time.perf_counter(), 0
    for epoch in range(settings.epochs):
        model.train()
        total = 0.0
        for batch in batches_by_length(lengths, settings.batch, rng):
            altered_texts = [altered(texts[i], rng, ground.foreign) if settings.augment else texts[i] for i in batch]
            with torch.autocast("cpu", dtype=torch.bfloat16):  # 2.5 times as fast on processors with AVX-512 BF16
                outputs = model(*padded(ground.tokenizer, altered_texts))
            loss = loss_of(outputs, (accept[batch], best[batch], kind[batch]), keep[batch], settings.keep_weight)
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            total += loss.item()
        print(f"seed {seed} epoch {epoch + 1}: loss {total / (done / (epoch + 1)):.3f}, {_since(began)}", flush=True)
    return model


def _labels(rows: Sequence[Row], count: int) -> tuple[Tensor, Tensor, Tensor]:
    truth = targets(rows)
    accept = torch.ones((count, len(DEVICES)))
    best = torch.full((count,), -1)
    kind = torch.zeros((count,), dtype=torch.long)
    accept[: len(rows)] = torch.from_numpy(truth.accept)
    best[: len(rows)] = torch.from_numpy(truth.best)
    kind[: len(rows)] = torch.from_numpy(truth.kind)
    return accept, best, kind


def _groups(model: TaskEncoder, settings: Settings) -> list[dict[str, object]]:
    """Lower layers learn more slowly, the fresh heads fastest."""
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not name.startswith("bert."):
            rate = settings.head_rate
        else:
            depth = int(name.split(".")[3]) + 1 if ".layer." in name else 0
            rate = settings.rate * settings.layer_decay ** (LAYERS - depth)
        groups.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def _ramp(progress: float, warmup: float) -> float:
    return progress / warmup if progress < warmup else max(0.0, (1.0 - progress) / (1.0 - warmup))


def _since(began: float) -> str:
    return f"{time.perf_counter() - began:.0f} s"


def averaged(models: Sequence[TaskEncoder]) -> TaskEncoder:
    """One network with the mean weights. Source: model soups, Wortsman et al. 2022, arXiv:2203.05482."""
    states = [model.state_dict() for model in models]
    mean = {
        name: torch.stack([s[name].float() for s in states]).mean(0).to(states[0][name].dtype) for name in states[0]
    }
    models[0].load_state_dict(mean)
    return models[0]
