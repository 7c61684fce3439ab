"""Find what an utterance names: tasks, nodes, a command in quotation marks, the work to be done.

A task is named by its id, by the beginning of the id, by "last", or by words of its description. Commands are taken
from backticks, or from quotation marks right after a word such as run; nothing unquoted is ever executed.

Not covered: pronouns beyond the last task of the conversation, which `dialogue` knows.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from conductor.decisions.converse.snapshot import NodeNow, Snapshot
from conductor.domain.task import Task, TaskId

_TASK_ID: Final = re.compile(r"(?<!\w)t[0-9a-hjkmnp-tv-z]{18}(?!\w)")
_PREFIX: Final = re.compile(r"(?<!\w)t[0-9a-hjkmnp-tv-z]{4,17}(?!\w)")
_LAST: Final = re.compile(
    r"\b(?:last|latest|previous|most recent|newest|letzte\w*|vorige\w*|neueste\w*|últim[oa]|ultim[oa]|derni(?:er|ère))\b",
    re.IGNORECASE,
)
_IT: Final = re.compile(
    r"\b(?:it|that|this|the task|the job|es|ihn|den|das|eso|esa|esta|lo|la|ça|celle-ci)\b", re.IGNORECASE
)
_NOT_IN_NAMES: Final = re.compile(r"[^\w.-]+")
_FAILED: Final = re.compile(
    r"\b(?:(?:tasks|jobs|what|which|anything|many|something|any)\b.{0,30}\b(?:fail(?:ed|s|ures?|ing)?|errors?|crash(?:ed)?|"
    r"died|broken)|failed (?:tasks|jobs)|failures|fehlgeschlagen\w*|échoué\w*|fallid[oa]s|fallaron)\b",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[^\W_]{3,}")
_COMMON_WORDS: Final = (
    "the and for with that this task tasks job jobs cancel stop kill abort please end terminate remove drop delete last "
    "my our now why did was how what which status running queue queued from not all about run state still done is it "
    "der die das den und für bitte stoppe stopp abbrechen brich tarea trabajo cancela cancelar para por favor tâche "
    "annule annuler arrête cancelled everything ignore rules"
)
_COMMON: Final = frozenset(_COMMON_WORDS.split())
_STEM: Final = 5
_BACKTICKS: Final = re.compile(r"`([^`\n]{1,2000})`")
_QUOTED_COMMAND: Final = re.compile(
    r"\b(?:run|execute|exec|start|launch|schedule|queue|submit|führe|starte|ejecuta|ejecutar|corre|lance|exécute)\b"
    r"[^\"“]{0,20}(?:\"([^\"\n]{1,2000})\"|“([^”\n]{1,2000})”)",
    re.IGNORECASE,
)
_ORDER: Final = re.compile(
    r"^(?:(?:hey|hi|hello|ok|okay|please|bitte|por favor|s'il te plaît|conductor)[,!: ]+)*"
    r"(?:(?:can|could|would|will) you (?:please )?|i(?:'d like| want| need)(?: you)? to |we need to |let's )?(?:please )?"
    r"(?:(?:schedule|queue(?: up)?|submit|enqueue|plan)(?: (?:a|the|this|that|my|new|another))*(?: (?:task|job|run))?"
    r"(?:\s*[:,-]\s*|\s+(?:to|that|which|for|of)\s+|\s+))?",
    re.IGNORECASE,
)
_SUBJECT: Final = re.compile(
    r"\b(?:device|hardware|machine|node|accelerator|gpu|cpu|npu|dsp|gerät|hardware|rechner|dispositivo|equipo|appareil|"
    r"matériel|machine)s?\b.{0,60}?\b(?:for|to|run|für|um|para|pour)\b\s+(.{3,}?)[?.!\s]*$",
    re.IGNORECASE | re.DOTALL,
)
_WHERE_TO: Final = re.compile(
    r"^(?:where|on what|on which \w+|wo|dónde|où)\b.{0,20}?\b(?:should|to|can|do|sollte|soll|debería|dois-je|devrais-je)"
    r"\b(?: i| we| ich| wir)?\s+(?:run |put |place )?(.{3,}?)[?.!\s]*$",
    re.IGNORECASE | re.DOTALL,
)


def task_ids(text: str) -> list[TaskId]:
    """Whole task ids, in the order they stand; at most ten."""
    return [TaskId(found) for found in dict.fromkeys(_TASK_ID.findall(text[:10_000]))][:10]


def says_last(text: str) -> bool:
    """Whether the newest task is meant."""
    return _LAST.search(text[:1000]) is not None


def says_it(text: str) -> bool:
    """Whether what was spoken of before is meant."""
    return _IT.search(text[:1000]) is not None


def says_failed(text: str) -> bool:
    """Whether it is about failures of several tasks, and not about one task's."""
    return _FAILED.search(text[:1000]) is not None


def tasks_named(text: str, tasks: Sequence[Task]) -> list[Task]:
    """The tasks that an utterance may mean: by id, else by the beginning of an id, else by most words in common."""
    text = text[:10_000]
    by_id = [task for task in tasks if task.task_id in task_ids(text)]
    if by_id or task_ids(text):
        return by_id
    prefixes = _PREFIX.findall(text)
    by_prefix = [task for task in tasks if any(task.task_id.startswith(prefix) for prefix in prefixes)]
    if by_prefix:
        return by_prefix
    words = _words(text)
    shared = {task.task_id: len(words & _words(task.submission.description)) for task in tasks}
    most = max(shared.values(), default=0)
    return [task for task in tasks if most and shared[task.task_id] == most]


def node_named(text: str, snapshot: Snapshot) -> NodeNow | None:
    """The node whose id or host name stands in an utterance."""
    words = _NOT_IN_NAMES.sub(" ", text[:10_000].casefold())
    said = f" {words} ".replace(". ", " ")
    for node in snapshot.nodes:
        if any(f" {name.casefold()} " in said for name in (node.node.node_id, node.node.hostname) if name):
            return node
    return None


def command_in(text: str) -> tuple[str, ...]:
    """The command that an utterance quotes, in words; empty when it quotes none, or quotes it badly."""
    found = _BACKTICKS.search(text[:10_000]) or _QUOTED_COMMAND.search(text[:10_000])
    if found is None:
        return ()
    line = next(group for group in found.groups() if group is not None)
    try:
        return tuple(shlex.split(line))
    except ValueError:
        return ()


def work_in(text: str) -> str:
    """An order without its politeness: `Please schedule a job to encode clip.mov` → `encode clip.mov`."""
    said = text.strip().replace("`", "")
    rest = said[_ORDER.match(said[:300]).end() :].strip() if _ORDER.match(said[:300]) else said  # type: ignore[union-attr]
    return rest if len(rest) >= 3 else said


def subject_in(text: str) -> str:
    """What advice is asked about: `Which device is best for video encoding?` → `video encoding`."""
    said = text.strip()[:2000]
    found = _SUBJECT.search(said) or _WHERE_TO.search(said)
    return found[1].strip() if found else said


def _words(text: str) -> set[str]:
    return _without(word.casefold() for word in _WORD.findall(text[:2000]))


def _without(words: Iterable[str]) -> set[str]:
    """Beginnings of words, so that `training` finds `train`; words that name nothing are left out."""
    return {word[:_STEM] for word in words if word not in _COMMON}
