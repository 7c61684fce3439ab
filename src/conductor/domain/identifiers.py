"""Identifiers that sort by the time they were made: `t`, 48 bits of milliseconds, 42 random bits, in base 32 (Crockford).

Sorted as text they are in the order of submission, so one index serves both as key and as history.
"""

from conductor.domain.task import TaskId

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
RANDOM_BITS = 42


def task_id(unix_ms: int, random_bits: int) -> TaskId:
    """Make the identifier of a task submitted at `unix_ms`; `random_bits` lies in 0 … 2**42 - 1."""
    number = unix_ms << RANDOM_BITS | random_bits
    pairs = []
    for _ in range(9):
        pairs.append(_PAIRS[number & 1023])
        number >>= 10
    return TaskId("t" + "".join(reversed(pairs)))
