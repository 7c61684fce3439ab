"""Answers to what is not our trade: friendly, short, and with examples of what fits this installation now."""

import re
from typing import Final

from conductor.decisions.converse.snapshot import Snapshot
from conductor.decisions.converse.wording import listing

_THANKS: Final = re.compile(
    r"\b(?:thanks?|thank you|thx|danke|gracias|merci|great|awesome|super|perfect)\b", re.IGNORECASE
)
_HELLO: Final = re.compile(
    r"^\W*(?:hi|hello|hey|good (?:morning|evening|afternoon)|hallo|guten \w+|moin|hola|buen[oa]s \w+|bonjour|salut)\b",
    re.IGNORECASE,
)


def off_topic_answer(snapshot: Snapshot, utterance: str) -> str:
    """A friendly word, and what to ask instead."""
    examples = listing([f"“{example}”" for example in examples_for(snapshot)])
    if len(utterance) <= 60 and _THANKS.search(utterance):
        return "You are welcome! I am here when the machines need you, or you need them."
    if _HELLO.search(utterance[:60]):
        return f"Hello! I look after the work on your machines. Ask me, for example, {examples}."
    return (
        "That is outside my trade: I know the machines, the tasks and the models of this installation, and can explain, "
        f"plan and cancel work. Try {examples}."
    )


def examples_for(snapshot: Snapshot) -> list[str]:
    """Three questions that have an answer here and now."""
    settled = next((task for task in snapshot.tasks if task.decision is not None), None)
    found = []
    if snapshot.waiting:
        found.append("Why is everything so slow?")
    if snapshot.unsettled():
        found.append("How are my tasks doing?")
    if settled is not None and settled.decision is not None:
        found.append(f"Why did you choose {settled.decision.available_device} for the last task?")
    found += ["Which device is best for video encoding?", "Which nodes are there?", "What is the status?"]
    return found[:3]
