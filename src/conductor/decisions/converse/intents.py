"""Decide what an utterance wants: the reader's most likely intent, unless the wording leaves no doubt.

The rules see what a reader of single sentences does not: a task's id beside a word for cancelling, a quoted command to
run, a question for the reasons of a named task, and short questions that follow on from the answer before ("and why not
the other one?").

Not covered: yes and no to a plan, which `dialogue` hears first.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from conductor.decisions.converse.mentions import command_in, names_a_task, task_ids
from conductor.decisions.converse.ports import IntentReader
from conductor.domain.intent import Intent
from conductor.domain.json import JsonObject

_CANCEL: Final = re.compile(
    r"\b(?:cancel|stop|kill|abort|terminate|scancel|abbrechen|brich|stoppe?|beende|cancela[r]?|detén|para|mata|annule[rz]?|"
    r"arrête[rz]?|stoppez)\b",
    re.IGNORECASE,
)
#: Asking for reasons, whatever the reader makes of the words around it.
_EXPLAIN: Final = re.compile(
    r"\b(?:explain|justify|rationale|reasoning|erkläre?|begründe|explica|justifica|explique[rz]?|justifie[rz]?|spiega)\b"
    r"|\b(?:why|warum|wieso|weshalb|por qué|pourquoi|perché|waarom)\b.{0,120}\b(?:[gcn]pus?|dsp|isp|VIDEO|device|"
    r"ch[oe]se|chosen|choose|pick(?:ed)?|assigned|placed|gerät|gewählt|elegiste|choisi)\b",
    re.IGNORECASE,
)
#: How it ended or why it does not begin is no decision: that is the task's state.
_MISHAP: Final = re.compile(
    r"\b(?:fail(?:ed|ure|s)?|crash(?:ed)?|die[ds]?|error|stuck|wait(?:s|ing)?|pending|slow(?:er)?|so long|fehlgeschlagen|"
    r"abgestürzt|wartet|hängt|langsam|falló|fallado|espera|lent[ao]?|échoué|planté|attend)\b",
    re.IGNORECASE,
)
_BARE_WHY: Final = re.compile(
    r"^\W*(?:and |but |und |aber |y |et |e )?(?:why|why is that|why that|why so|how come|how so|warum|wieso|weshalb|"
    r"warum das|por qué|porqué|pourquoi|pourquoi ça|perché|por quê|почему|なぜ|为什么)\W*$",
    re.IGNORECASE,
)
_NEGATED: Final = re.compile(
    r"\b(?:not|n't|isn't|wasn't|didn't|nicht|kein\w*|no|ne|pas|non|não|instead)\b", re.IGNORECASE
)
_WHY: Final = re.compile(r"\b(?:why|warum|wieso|weshalb|por qué|porque|pourquoi)\b", re.IGNORECASE)
_OTHER: Final = re.compile(
    r"\bwhy not\b|\b(?:the )?others?(?: one| device| node)?\b|warum nicht|und der andere|por qué no|el otro|pourquoi pas|"
    r"l'autre|runner-up|alternative",
    re.IGNORECASE,
)
_RUN: Final = re.compile(
    r"^\W*(?:please |bitte |por favor )?(?:run|execute|exec|launch|start|schedule|queue|submit|führe|starte|"
    r"ejecuta|lance)\b",
    re.IGNORECASE,
)
#: "schedule this: …" and words in quotation marks, whatever the work is; an appointment would be scheduled with an article.
_ORDER: Final = re.compile(
    r"^\W*(?:please )?(?:schedule|queue|submit|run)(?: (?:this|the following|it)\b|\s*:?\s*[\"“'„«]\S)", re.IGNORECASE
)
_SHORT: Final = 80


def choose_intent(text: str, shares: Mapping[Intent, float], *, decision_spoken_of: bool = False) -> Intent:
    """The intent of one utterance.

    Args:
        shares: what the reader makes of it.
        decision_spoken_of: whether the conversation has shown a decision that a short question may follow on from.
    """
    if not any(map(str.isalnum, text[:4000])):
        return Intent.OFF_TOPIC  # nothing was said
    if decision_spoken_of and (asks_about_the_other(text) or is_bare_why(text)):
        return Intent.EXPLAIN_DECISION
    if names_a_task(text) and _EXPLAIN.search(text[:300]) and not _MISHAP.search(text[:300]):
        return Intent.EXPLAIN_DECISION
    if task_ids(text):
        if _CANCEL.search(text[:300]) and not _WHY.search(text[:300]):
            return Intent.CANCEL_TASK
        if max(shares, key=shares.__getitem__) in (Intent.OFF_TOPIC, Intent.SCHEDULE_TASK):
            return Intent.STATUS  # somebody who names a task and nothing else wants to know about it
    if command_in(text) and _RUN.search(text[:300]):
        return Intent.SCHEDULE_TASK
    if _ORDER.search(text[:300]) and max(shares, key=shares.__getitem__) is Intent.OFF_TOPIC:
        return Intent.SCHEDULE_TASK
    return max(shares, key=shares.__getitem__)


def asks_about_the_other(text: str) -> bool:
    """Whether this is a short question about what was not chosen."""
    return len(text) <= _SHORT and _OTHER.search(text) is not None and _CANCEL.search(text) is None


def is_bare_why(text: str) -> bool:
    """Whether this asks for the reason of what was said before, and names nothing."""
    return len(text) <= _SHORT and _BARE_WHY.search(text) is not None


def negates(text: str) -> bool:
    """Whether something is said not to be so: “why not the GPU?” does not take it for granted that it was the GPU."""
    return _NEGATED.search(text[:300]) is not None


def read_intents(reader: IntentReader, rows: Sequence[tuple[str, str]], *, per_batch: int = 64) -> Iterator[JsonObject]:
    """Rows of (id, text) to rows of `{"id", "intent"}`, in order; blocking, batch by batch."""
    for start in range(0, len(rows), per_batch):
        chunk = rows[start : start + per_batch]
        for (row_id, text), shares in zip(chunk, _read(reader, (text for _, text in chunk)), strict=True):
            yield {"id": row_id, "intent": choose_intent(text, shares).value}


def _read(reader: IntentReader, texts: Iterable[str]) -> Sequence[Mapping[Intent, float]]:
    return reader.read(list(texts))
