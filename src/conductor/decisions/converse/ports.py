"""What talking needs from the outside: somebody who reads what an utterance is after."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from conductor.domain.intent import Intent


class IntentReader(Protocol):
    """Tells the nine intents apart by wording and meaning; rules of `intents` have the last word."""

    def read(self, texts: Sequence[str]) -> Sequence[Mapping[Intent, float]]:
        """Probabilities over all nine intents, in 0–1 with sum 1, for each text; blocking, thread-safe.

        Raises:
            StorageError: its weights are missing, damaged, or made for another encoder.
        """
        ...
