"""Print how often the shipped network in 4 bits decides as the unrounded one: `python -m recipes.mind.agreement`.

The shipped files are read as the product reads them; the unrounded weights are those that the last full run
(`make train`) left in the cache of the recipes, and it says so where there are none. Takes about three minutes. The texts
are those that `train` compares on: variations of texts which no training has seen, and composed nonsense.
"""

import sys
from collections.abc import Sequence

import torch
from recipes.encoder.data import DEVICES, KINDS, holdout_rows, judge_rows, training_rows
from recipes.encoder.fit import CACHE, Ground, prepare
from recipes.mind.fit import device_logits
from recipes.mind.generated import composed_tasks, varied_tasks
from recipes.mind.train import CHECKPOINT, GENERATED, unrounded
from transformers import LlamaForCausalLM

from conductor.adapters.mind_llama.model import OwnMind


def compare(model: LlamaForCausalLM, ground: Ground, texts: Sequence[str]) -> tuple[float, float]:
    """Shares of texts with the same device, and with the same kind."""
    device, kind = (logits.argmax(1).tolist() for logits in device_logits(model, ground, texts))
    shipped = OwnMind().propose(texts)
    devices = [max(one.device_probabilities, key=one.device_probabilities.__getitem__) for one in shipped]
    same_device = sum(DEVICES[a] == b for a, b in zip(device, devices, strict=True))
    same_kind = sum(KINDS[a] == one.task_kind for a, one in zip(kind, shipped, strict=True))
    return same_device / len(texts), same_kind / len(texts)


def main() -> int:
    """Compare on both sets of texts; exit code 2 without unrounded weights."""
    if not (CACHE / CHECKPOINT).exists():
        print(
            f"There are no unrounded weights at {CACHE / CHECKPOINT}; `make train` leaves them there.", file=sys.stderr
        )
        return 2
    torch.set_num_threads(1)
    ground = prepare()
    model = unrounded(ground)
    aside = [row.text for row in (*holdout_rows(), *(row for judges in judge_rows().values() for row in judges))]
    sets = {
        "variations of texts kept out of training": varied_tasks(GENERATED, aside, ground.foreign),
        "composed nonsense": composed_tasks(GENERATED, [row.text for row in training_rows()]),
    }
    for title, texts in sets.items():
        device, kind = compare(model, ground, texts)
        print(f"{title}: {len(texts)} texts, same device {device:.2%}, same kind {kind:.2%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
