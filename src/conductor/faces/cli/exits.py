"""Exit codes: what a script can tell apart.

0 done · 1 the task failed · 2 wrong input · 3 no server · 4 not found · 5 conflict · 6 not allowed · 7 overloaded, try
later · 8 storage fails · 9 the ledger does not verify · 10 a language model fails · 70 an error of our own ·
130 interrupted · 141 nobody reads
"""

from typing import Final

from conductor.domain.errors import (
    ConductorError,
    Conflict,
    Exhausted,
    Forbidden,
    InvalidInput,
    InvalidTransition,
    LedgerError,
    ModelError,
    NotFound,
    Overloaded,
    StorageError,
    Unauthenticated,
)
from conductor.faces.cli.client import Unreachable

TASK_FAILED: Final = 1
WRONG_INPUT: Final = 2
BROKEN_LEDGER: Final = 9
MODEL_FAILS: Final = 10
OUR_ERROR: Final = 70
INTERRUPTED: Final = 130
NOBODY_READS: Final = 141

_CODES: Final[tuple[tuple[type[ConductorError], int], ...]] = (
    (Unreachable, 3),
    (InvalidInput, WRONG_INPUT),
    (Exhausted, WRONG_INPUT),
    (NotFound, 4),
    (Conflict, 5),
    (InvalidTransition, 5),
    (Unauthenticated, 6),
    (Forbidden, 6),
    (Overloaded, 7),
    (StorageError, 8),
    (LedgerError, BROKEN_LEDGER),
    (ModelError, MODEL_FAILS),
)


def code_of(error: ConductorError) -> int:
    """The exit code for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), OUR_ERROR)
