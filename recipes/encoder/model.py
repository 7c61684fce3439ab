"""The network: MiniLM with two heads beside the sentence embedding, and the loss it is trained with.

The heads read the first token and the mean; the embedding is the mean alone, held close to the frozen base by
distillation, so that it stays a sentence embedding (memory of past tasks, review scoring) while the first token is
free to specialise. Data and batches are `batches.py`; the loop is `fit.py`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

BEST_WEIGHT = 0.2
KIND_WEIGHT = 0.3
SMOOTHING = 0.03
HEAD_DROPOUT = 0.1


class TaskEncoder(nn.Module):
    """Sentence embedding, device logits and task kind logits of a batch of token ids.

    Args:
        base: folder of `base.fetch_base`.
        new_rows: for each appended vocabulary row, the base rows whose mean it starts from.
        devices, kinds: number of classes of the two heads.
    """

    def __init__(self, base: Path, new_rows: Sequence[Sequence[int]], devices: int, kinds: int) -> None:
        super().__init__()
        self.bert = BertModel.from_pretrained(str(base), add_pooling_layer=False, attn_implementation="eager")
        _append_rows(self.bert, new_rows)
        width = self.bert.config.hidden_size
        self.dropout = nn.Dropout(HEAD_DROPOUT)
        self.device_head = nn.Linear(2 * width, devices)
        self.kind_head = nn.Linear(2 * width, kinds)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """int64 [batch, tokens] twice → unit [batch, width], [batch, devices], [batch, kinds]."""
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)  # [batch, tokens, 1]
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)  # [batch, width]
        both = self.dropout(torch.cat([hidden[:, 0], mean], dim=1))
        embedding = mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-9)
        return embedding, self.device_head(both) / self.temperature, self.kind_head(both)


def _append_rows(bert: BertModel, new_rows: Sequence[Sequence[int]]) -> None:
    old = bert.get_input_embeddings().weight.data
    bert.resize_token_embeddings(old.shape[0] + len(new_rows), mean_resizing=False)
    table = bert.get_input_embeddings().weight.data
    for offset, rows in enumerate(new_rows):
        table[old.shape[0] + offset] = old[list(rows)].mean(0) if rows else old.mean(0)


def loss_of(
    outputs: tuple[Tensor, Tensor, Tensor], labels: tuple[Tensor, Tensor, Tensor], keep: Tensor, keep_weight: float
) -> Tensor:
    """Mean loss of a batch: accepted mass, best device, task kind, distance from the base's embedding.

    Args:
        outputs: what `TaskEncoder` returned.
        labels: float [batch, devices] accepted, int64 [batch] best, int64 [batch] kind; a best of -1 marks a text
            without labels, which only teaches the embedding.
        keep: float [batch, width], the frozen base's unit embedding of the unaltered text.
        keep_weight: how much the distance from `keep` counts.
    """
    embedding, device_logits, kind_logits = (output.float() for output in outputs)
    accepted, best, kind = labels
    distance = 1.0 - (embedding * keep).sum(1).mean()
    labelled = best >= 0
    if not bool(labelled.any()):
        return keep_weight * distance
    log_p = functional.log_softmax(device_logits[labelled], dim=1)
    on_accepted = -torch.logsumexp(log_p.masked_fill(accepted[labelled] == 0, -1e4), dim=1).mean()
    smooth = -log_p.mean()
    on_best = functional.nll_loss(log_p, best[labelled])
    on_kind = functional.cross_entropy(kind_logits[labelled], kind[labelled], label_smoothing=SMOOTHING)
    device = (1 - SMOOTHING) * (on_accepted + BEST_WEIGHT * on_best) + SMOOTHING * smooth
    return device + KIND_WEIGHT * on_kind + keep_weight * distance
