"""Answers to what is not our trade: friendly, short, and with examples of what fits this installation now."""

import re
from typing import Final

from conductor.decisions.converse.snapshot import Snapshot
from conductor.decisions.converse.wording import listing

_GREETING: Final = 60
_THANKS: Final = re.compile(
    r"\b(?:thanks?|thank you|thx|ty|cheers|danke|gracias|merci|grazie|obrigad[oa]|bedankt|great|awesome|super|perfect)\b|"
    r"спасибо|ありがとう|谢谢",
    re.IGNORECASE,
)
_GOODBYE: Final = re.compile(
    r"^\W*(?:bye|goodbye|good night|see you|tschüss|auf wiedersehen|gute nacht|adiós|hasta luego|au revoir|bonne nuit)\b",
    re.IGNORECASE,
)
_ABILITIES: Final = re.compile(
    r"^\W*(?:please |conductor,? )?(?:help(?: me| please)?|hilfe|ayuda|aide|aiuto|ajuda|помощь|commands|examples)\W*$|"
    r"\bwhat (?:all )?(?:can|do|could) (?:you|i|we) (?:do|know|help|ask)|\bwhat are you(?: for| able to do)?\W*$|"
    r"\bwho are you|\bwhat is conductor|\bhow (?:do i use|does) (?:this|it|you)(?: work)?\W*$|"
    r"\btell me about yourself|\byour (?:abilities|name|commands)|\bexample questions|\bshow me the commands|"
    r"\bwas kannst du|\bw(?:er|as) bist du|\bqué (?:puedes|sabes) hacer|\bquién eres|\bqu(?:e|'est-ce que) (?:peux|sais)-tu|"
    r"\bqu'est-ce que tu (?:peux|sais) faire|\bqui es-tu|\bcosa sai fare|\bchi sei|\bo que você (?:sabe|pode)|"
    r"\bquem é você|\bwat kun je|\bкто ты|\bчто ты умеешь|何ができ|あなたは誰|你会做什么|你是谁|你能做什么",
    re.IGNORECASE,
)
_HELLO: Final = re.compile(
    r"^\W*(?:hi|hello|hey|good (?:morning|evening|afternoon)|hallo|guten \w+|moin|hola|buen[oa]s \w+|bonjour|salut)\b",
    re.IGNORECASE,
)


def off_topic_answer(snapshot: Snapshot, utterance: str) -> str:
    """A friendly word, and what to ask instead; what we can do, when that was the question."""
    if len(utterance) <= 2 * _GREETING and _ABILITIES.search(utterance):
        return abilities(snapshot)
    examples = listing([f"“{example}”" for example in examples_for(snapshot)])
    if len(utterance) <= _GREETING and _THANKS.search(utterance):
        return "You are welcome! I am here when the machines need you, or you need them."
    if len(utterance) <= _GREETING and _GOODBYE.search(utterance):
        return "Goodbye! The machines stay in good hands."
    if _HELLO.search(utterance[:_GREETING]):
        return f"Hello! I look after the work on your machines. Ask me, for example, {examples}."
    return (
        "That is outside my trade, but you can ask me about the machines, tasks, models and speed of this installation, or "
        f"order work and cancel it; try {examples}."
    )


def abilities(snapshot: Snapshot) -> str:
    """What can be asked and ordered, each with an example that fits this installation."""
    decision = next((task.decision for task in snapshot.tasks if task.decision is not None), None)
    node = next((node.node.hostname for node in snapshot.present()), "")
    device = f"{decision.available_device}" if decision else "that device"
    lines = [
        "I am Conductor: I look after the work on your machines. In plain words you can ask or tell me:",
        "- how things stand: “What is running?”, “Which tasks failed?”" + (f", “How is {node}?”" if node else ""),
        "- which device suits some work: “Which device is best for video encoding?”",
        f"- why a task was decided as it was: “Why did you choose {device} for the last task?”, then “Why not the other?”",
        "- where time goes: “Why is everything so slow?”",
        "- what there is: “Which nodes are there?”, “Which models are loaded?”",
        "- to plan work: “schedule sort the names -- sort names.txt”",
        "- to cancel it: “Cancel the last task”",
        "Plans are shown first, and nothing happens before your yes (in `conductor chat`). English, German, French and "
        "Spanish will do.",
    ]
    return "\n".join(lines)


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
