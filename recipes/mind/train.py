"""Train the language model from the data in the repository and ship it: one command, fixed seeds.

`python -m recipes.mind.train` starts from the encoder that `recipes.encoder.train` left behind (and trains that first
when there is none), turns it into a decoder (`transplant.py`), fits the decision form (`fit.py`), rounds to 4 bits
(`rounding.py`), calibrates on the hold-out, and replaces the files of `conductor.adapters.mind_llama`.
`--small` checks the recipe itself on a few hundred texts in minutes: exit code 1 when nothing was learned, nothing
shipped. `--start` chooses what the weights start from; the others were measured against the default.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from recipes.encoder import train as encoder_recipe
from recipes.encoder.data import (
    DEVICES,
    KINDS,
    Row,
    aside_rows,
    file_digests,
    holdout_rows,
    judge_rows,
    targets,
    training_rows,
)
from recipes.encoder.evaluate import metrics
from recipes.encoder.fit import CACHE, Ground, prepare
from recipes.encoder.letters import fit_letters
from recipes.encoder.model import TaskEncoder
from recipes.mind.architecture import (
    BASE_WIDTH,
    CONTEXT,
    EPSILON,
    HEAD_WIDTH,
    HEADS,
    INNER_WIDTH,
    LAYERS,
    WIDTH,
    answers,
    configuration,
)
from recipes.mind.examples import examples
from recipes.mind.export import write_card, write_tokenizer, write_weights
from recipes.mind.fit import Settings, device_logits, fit
from recipes.mind.generated import composed_tasks, varied_tasks
from recipes.mind.rounding import Rounded, round_at_once, round_with_compensation, tweak_norms
from recipes.mind.sequences import Batch, Layout
from recipes.mind.transplant import embeddings_of, transplant
from torch import Tensor
from transformers import LlamaForCausalLM

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.mind_llama.model import SHIPPED

NAME: Final = "conductor-mind"
VERSION: Final = "0.2.0"
CHECKPOINT: Final = "mind.pt"
FACTS: Final = "mind.json"
STARTS: Final = ("encoder", "base", "embeddings", "random")
_TEXTS_TO_READ_BY: Final = 1_000
GENERATED: Final = 2_000
#: Texts that the rounding looks at, how many of their tokens, and how many steps the norms' gains are trained.
_LOOKED_AT: Final = 2_400
_LOOKED_AT_TOKENS: Final = 64
_GAIN_STEPS: Final = 150
_GAIN_BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two networks choose the same device, and the same kind, over texts."""

    texts: int
    device: float
    kind: float


def begin(ground: Ground, rows: Sequence[Row], start: str) -> LlamaForCausalLM:
    """The untrained decoder.

    Args:
        start: `encoder` takes over the fitted encoder's layers, `base` those of the untouched MiniLM, `embeddings` only
            its vocabulary, `random` nothing.
    """
    torch.manual_seed(0)
    encoder = TaskEncoder(ground.base_folder, ground.new_rows, len(DEVICES), len(KINDS))
    if start == "encoder":
        encoder.load_state_dict(torch.load(_encoder_checkpoint(), weights_only=True))
    if start in ("encoder", "base"):
        model = transplant(encoder.eval(), ground.tokenizer, [row.text for row in rows[:: _every(rows)]])
    else:
        model = LlamaForCausalLM(configuration(encoder.bert.config.vocab_size))
    with torch.no_grad():
        table = model.model.embed_tokens.weight
        if start == "embeddings":
            table[:, :BASE_WIDTH] = embeddings_of(encoder.bert)
        for field in answers(ground.tokenizer).fields:
            table[list(field)] = torch.randn(len(field), WIDTH) * 0.05
    model.config._attn_implementation = "eager"  # two thirds of the time of the fused kernel on processors
    return model


def _every(rows: Sequence[Row]) -> int:
    return max(len(rows) // _TEXTS_TO_READ_BY, 1)


def _encoder_checkpoint() -> Path:
    path = CACHE / encoder_recipe.CHECKPOINT
    if not path.exists():
        subprocess.run([sys.executable, "-m", "recipes.encoder.train"], check=True)
    return path


def measured(model: LlamaForCausalLM, ground: Ground, rows: Sequence[Row], title: str) -> dict[str, float]:
    """Print and return how well the form's device and kind are filled in."""
    device, kind = device_logits(model, ground, [row.text for row in rows])
    found = metrics(rows, device.softmax(1).numpy(), kind.softmax(1).numpy())
    shown = {name: round(value, 4) for name, value in found.items()}
    print(title, shown, flush=True)
    return shown


def agreement(one: LlamaForCausalLM, other: LlamaForCausalLM, ground: Ground, texts: Sequence[str]) -> Agreement:
    """Compare the answers of two networks."""
    (device, kind), (other_device, other_kind) = (device_logits(model, ground, texts) for model in (one, other))
    same = [(a.argmax(1) == b.argmax(1)).float().mean().item() for a, b in ((device, other_device), (kind, other_kind))]
    return Agreement(len(texts), round(same[0], 4), round(same[1], 4))


def temperature(logits: Tensor, accepted: Tensor) -> float:
    """The temperature that gives accepted answers the most probability."""
    tried = np.geomspace(0.5, 4.0, 43)
    losses = [-((logits / value).softmax(1) * accepted).sum(1).clamp(min=1e-6).log().mean().item() for value in tried]
    return float(tried[int(np.argmin(losses))])


def pooling(encoder: Tensor, mind: Tensor, accepted: Tensor) -> dict[str, float]:
    """How much the two beliefs count together: the smallest share of the language model that is as good as the best.

    As good means: log loss within one standard error of the least, and right at least as often as either alone. The
    language model reads strangers' texts less well than texts of our own writers and is too sure of itself then; so of
    shares that our own texts cannot tell apart the smallest is taken. The two add up to one: both parts are calibrated,
    and so is their mean then, on easy texts and on hard ones.

    Args:
        encoder, mind: float [texts, devices], calibrated probabilities.
        accepted: float [texts, devices], one where a device is accepted.

    Source: the one-standard-error rule, Breiman et al. 1984, Classification and Regression Trees, section 3.4.3.
    """

    def right(probabilities: Tensor) -> float:
        return accepted.gather(1, probabilities.argmax(1, keepdim=True)).mean().item()

    logs = [probabilities.clamp(min=1e-4).log() for probabilities in (encoder, mind)]
    shares = np.linspace(0.0, 0.5, 41)
    joined = [((1 - share) * logs[0] + share * logs[1]).softmax(1) for share in shares]
    losses = [-(one * accepted).sum(1).clamp(min=1e-6).log() for one in joined]
    least = min(losses, key=lambda loss: loss.mean().item())
    most_right = max(right(encoder), right(mind)) - 1e-6

    def as_good(at: int) -> bool:
        worse = losses[at] - least
        return bool(worse.mean() <= worse.std() / math.sqrt(len(worse))) and right(joined[at]) >= most_right

    chosen = next((at for at in range(len(shares)) if as_good(at)), 0)
    share = round(float(shares[chosen]), 4)
    print(f"pooling: {share} for the language model, log loss {losses[chosen].mean():.4f}, least {least.mean():.4f}")
    return {"encoder": round(1 - share, 4), "language_model": share}


def train_and_ship(ground: Ground, rows: Sequence[Row], settings: Settings, start: str) -> None:
    """The full run."""
    began = time.perf_counter()
    holdout = holdout_rows()
    some = examples(rows, fit_letters(rows))
    model = begin(ground, rows, start)
    fit(model, ground, some, settings, lambda epoch: measured(model, ground, holdout, f"hold-out, epoch {epoch + 1}"))
    torch.save(model.state_dict(), CACHE / CHECKPOINT)
    facts = {"settings": asdict(settings), "start": start, "training_s": round(time.perf_counter() - began)}
    (CACHE / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    round_and_ship(ground, rows, model, facts)


def unrounded(ground: Ground) -> LlamaForCausalLM:
    """The network that the last full run left behind, before rounding."""
    model = LlamaForCausalLM(configuration(ground.tokenizer.get_vocab_size()))
    model.config._attn_implementation = "eager"
    model.load_state_dict(torch.load(CACHE / CHECKPOINT, weights_only=True))
    return model


def round_last(ground: Ground, rows: Sequence[Row]) -> None:
    """Round and ship the network that the last full run left behind."""
    round_and_ship(ground, rows, unrounded(ground), json.loads((CACHE / FACTS).read_text(encoding="utf-8")))


def round_and_ship(ground: Ground, rows: Sequence[Row], model: LlamaForCausalLM, facts: dict[str, object]) -> None:
    """Round, compare with the unrounded network on texts that the rounding has not seen, and ship."""
    model.eval()
    known = [row.text for row in rows]
    aside = [row.text for row in (*holdout_rows(), *(row for judges in judge_rows().values() for row in judges))]
    texts = varied_tasks(GENERATED, aside, ground.foreign)
    odd = composed_tasks(GENERATED, known)
    seen = known[:: len(known) // (_LOOKED_AT * 2 // 3)]
    seen += composed_tasks(_LOOKED_AT - len(seen), [*known, *odd], seed=6)
    batches = _filled_in(ground, model, seen)
    found = round_with_compensation(model, _joined([batch.ids for batch in batches]))
    print("rounded:", agreement(model, found.model, ground, texts), flush=True)
    tweak_norms(found, model, answers(ground.tokenizer), batches[:: max(len(batches) // _GAIN_STEPS, 1)])
    agreed = {
        "rounded_at_once": asdict(agreement(model, round_at_once(model).model, ground, texts)),
        "agreement": asdict(agreement(model, found.model, ground, texts)),
        "agreement_on_composed": asdict(agreement(model, found.model, ground, odd)),
    }
    print(agreed, flush=True)
    ship(ground, found, model, facts | agreed)


def _filled_in(ground: Ground, model: LlamaForCausalLM, texts: Sequence[str]) -> list[Batch]:
    """Shuffled batches of sequences with the network's own answers of the first two fields."""
    device, kind = (logits.argmax(1).tolist() for logits in device_logits(model, ground, texts))
    layout = Layout(ground.tokenizer, answers(ground.tokenizer))
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(3)).tolist()
    return [
        layout.batch(
            [texts[row] for row in order[start : start + _GAIN_BATCH]],
            [(device[row], kind[row], 2, 2, 2) for row in order[start : start + _GAIN_BATCH]],
            [()] * len(order[start : start + _GAIN_BATCH]),
        )
        for start in range(0, len(order), _GAIN_BATCH)
    ]


def _joined(ids: Sequence[Tensor]) -> Tensor:
    """[texts, tokens] of several batches, cut to the same length."""
    whole = torch.zeros((sum(len(batch) for batch in ids), _LOOKED_AT_TOKENS), dtype=torch.long)
    at = 0
    for batch in ids:
        wide = min(batch.shape[1], _LOOKED_AT_TOKENS)
        whole[at : at + len(batch), :wide] = batch[:, :wide]
        at += len(batch)
    return whole


def ship(ground: Ground, found: Rounded, model: LlamaForCausalLM, facts: Mapping[str, object]) -> None:
    """Calibrate on the hold-out and write the shipped files; `facts` go into the card."""
    holdout, judged = holdout_rows(), judge_rows()
    device, kind = device_logits(found.model, ground, [row.text for row in holdout])
    truth = targets(holdout)
    temperatures = {
        "device": temperature(device, torch.from_numpy(truth.accept)),
        "task_kind": temperature(kind, torch.nn.functional.one_hot(torch.from_numpy(truth.kind), len(KINDS)).float()),
        "priority": 1.0,
        "compute_units": 1.0,
        "duration_s": 1.0,
    }
    write_weights(found, SHIPPED)
    write_tokenizer(ground.tokenizer, SHIPPED)
    card = {
        "name": NAME,
        "version": VERSION,
        "architecture": {
            "type": "Llama decoder",
            "layers": LAYERS,
            "width": WIDTH,
            "heads": HEADS,
            "head_width": HEAD_WIDTH,
            "inner_width": INNER_WIDTH,
            "epsilon": EPSILON,
            "context": CONTEXT,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        },
        **facts,
        "training_texts": len(training_rows()),
        "holdout": measured(found.model, ground, holdout, "hold-out, 4 bits"),
        **{name: measured(found.model, ground, set_aside, f"{name}, 4 bits") for name, set_aside in judged.items()},
        "judge_unrounded": measured(model, ground, judged["judge"], "judge, unrounded"),
        "data_sha256": file_digests(),
    }
    # One number chosen on all of them hardly flatters any; on the first two alone it was worse on texts that mislead.
    chosen_by = [*holdout, *aside_rows(), *(row for rows in judged.values() for row in rows)]
    texts = [row.text for row in chosen_by]
    device, _ = device_logits(found.model, ground, texts)
    joined = pooling(
        torch.from_numpy(OnnxEncoder().encode(texts).device_probabilities),
        (device / temperatures["device"]).softmax(1),
        torch.from_numpy(targets(chosen_by).accept),
    )
    write_card(SHIPPED, card, ground.tokenizer, temperatures, joined)


def try_small(ground: Ground, rows: Sequence[Row], start: str) -> int:
    """Exit code 0 when three epochs on a few hundred texts improve the accuracy on texts left aside by a tenth."""
    some, aside = rows[::16], rows[8::40]
    model = begin(ground, some, start)
    before = measured(model, ground, aside, "before")["accept"]
    fit(model, ground, examples(some, fit_letters(some)), Settings(epochs=3, rate=8e-4))
    after = measured(model, ground, aside, "after")["accept"]
    rounded_device = measured(round_at_once(model).model, ground, aside, "rounded at once")["accept"]
    print(f"accept {before:.3f} before, {after:.3f} after {len(some)} texts, {rounded_device:.3f} in 4 bits")
    return 0 if after >= before + 0.1 else 1


def main() -> int:
    """Read the command line and do one of the two runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="check the recipe on a few hundred texts; ships nothing")
    parser.add_argument("--start", choices=STARTS, help="what the weights start from")
    parser.add_argument("--round", action="store_true", help="only round and ship what the last full run left behind")
    parser.add_argument("--epochs", type=int, default=Settings().epochs)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ground, rows = prepare(), training_rows()
    if options.small:
        return try_small(ground, rows, options.start or "base")
    if options.round:
        round_last(ground, rows)
        return 0
    train_and_ship(ground, rows, replace(Settings(), epochs=options.epochs), options.start or "encoder")
    return 0


if __name__ == "__main__":
    sys.exit(main())
