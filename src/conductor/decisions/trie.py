"""Walk the answers of a field as a trie over the model's own tokens, asking the model only where it branches.

The choice is normalised over the branches; what is forced costs no forward pass, it is read together with the next token
that is needed. Which texts the tokens stand for, and what has been read before, is the caller's (`constrained`).

Not covered: answers of which one is the beginning of another.
"""

from collections.abc import Sequence

import numpy as np

from conductor.decisions.ports import FloatArray, TokenSession
from conductor.domain.errors import ModelError

Tokens = Sequence[int]


def log_probabilities(session: TokenSession, read: int, paths: Sequence[Tokens]) -> FloatArray:
    """Log-probabilities of paths through their trie, normalised where it branches; float32 [paths].

    Args:
        session: has read the first `read` tokens, which all paths share, and at least one less than they share;
            afterwards it has read all that they share.
        read: how many those are.
        paths: at least two; none may be a beginning of another.

    Raises:
        ModelError: a path is a beginning of another, or the model computes no usable numbers.
    """
    depth = _branch(paths)
    options = sorted({path[depth] for path in paths})
    logits = session.extend(paths[0][read:depth], among=options)
    steps = log_softmax(_usable(logits, options))
    found = np.zeros(len(paths), np.float32)
    for option, step in zip(options, steps, strict=True):
        members = [index for index, path in enumerate(paths) if path[depth] == option]
        found[members] = step
        if len(members) > 1:
            found[members] += log_probabilities(session.fork(), depth, [paths[index] for index in members])
    return found


def likeliest(session: TokenSession, read: int, paths: Sequence[Tokens]) -> tuple[int, int]:
    """The path that is likeliest token by token, and how many of its tokens the session has read afterwards.

    Args:
        session, read, paths: as for `log_probabilities`; a single path costs nothing.

    Raises:
        ModelError: as `log_probabilities`.
    """
    left = list(range(len(paths)))
    while len(left) > 1:
        depth = _branch([paths[index] for index in left])
        path = paths[left[0]]
        options = sorted({paths[index][depth] for index in left})
        logits = session.extend(path[read:depth], among=options)
        read = depth
        best = options[int(_usable(logits, options).argmax())]
        left = [index for index in left if paths[index][depth] == best]
    return left[0], read


def shared(paths: Sequence[Tokens]) -> int:
    """How many tokens all paths begin with."""
    return next(
        (at for at, tokens in enumerate(zip(*paths, strict=False)) if len(set(tokens)) > 1), min(map(len, paths))
    )


def _branch(paths: Sequence[Tokens]) -> int:
    depth = shared(paths)
    if depth == min(map(len, paths)):
        raise ModelError(
            "the model's tokens cannot tell the answers of the form apart; choose a model whose tokenizer knows letters",
            field="mind.model",
        )
    return depth


def _usable(logits: FloatArray, options: Sequence[int]) -> FloatArray:
    chosen = logits[list(options)]
    if not np.isfinite(chosen).all():
        raise ModelError(
            "the model computes no usable numbers (infinite or not a number); its file may be damaged: fetch it again",
            field="mind.model",
        )
    return chosen


def log_softmax(values: FloatArray) -> FloatArray:
    """Logarithms of the shares that logits stand for; float32, summed in float64."""
    shifted = values.astype(np.float64) - float(values.max())
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), np.float32)
