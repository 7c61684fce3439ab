"""Find what an utterance names: tasks, nodes, a command in quotation marks, the work to be done.

A task is named by its id, by the beginning of the id, by "last", or by words of its description. Commands stand between
backticks, or behind ` -- `; all other words are a description, in quotation marks too, and are never executed.

Not covered: pronouns beyond the last task of the conversation, which `dialogue` knows.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from conductor.decisions.converse.snapshot import NodeNow, Snapshot
from conductor.domain.device import DeviceType
from conductor.domain.task import Task, TaskId

_TASK_ID: Final = re.compile(r"(?<!\w)t[0-9a-hjkmnp-tv-z]{18}(?!\w)")
#: Ids begin with the time they were made, and that with `t0`; a Quadro T1000 is no task.
_PREFIX: Final = re.compile(r"(?<!\w)t0[0-9a-hjkmnp-tv-z]{3,16}(?!\w)")
_LAST: Final = re.compile(
    r"\b(?:last|latest|previous|most recent|newest|letzte\w*|vorige\w*|neueste\w*|últim[oa]|ultim[oa]|derni(?:er|ère))\b",
    re.IGNORECASE,
)
_IT: Final = re.compile(
    r"\b(?:its?|that|this|the task|the job|es|ihn|den|das|eso|esa|esta|lo|la|ça|celle-ci)\b", re.IGNORECASE
)
_NOT_IN_NAMES: Final = re.compile(r"[^\w.-]+")
_FAILED: Final = re.compile(
    r"\b(?:(?:tasks|jobs|aufgaben|tareas|tâches|what|which|anything|many|something|any)\b.{0,30}\b(?:fail(?:ed|s|ures?|ing)?|errors?|crash(?:ed)?|"
    r"died|broken)|failed (?:tasks|jobs)|failures|fehlgeschlagen\w*|échoué\w*|fallid[oa]s|fallaron)\b",
    re.IGNORECASE,
)
_MISHAP: Final = re.compile(
    r"\b(?:fail(?:ed|s|ures?)?|errors?|crash(?:ed)?|die[ds]?|wrong|broken?|fehlgeschlagen|abgestürzt|schief|falló|fallado|échoué|"
    r"planté)\b",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[^\W_]{3,}")
_COMMON_WORDS: Final = (
    "the and for with that this task tasks job jobs cancel stop kill abort please end terminate remove drop delete last "
    "my our now why did was how what which status running queue queued from not all about run state still done is it "
    "der die das den und für bitte stoppe stopp abbrechen brich tarea trabajo cancela cancelar para por favor tâche "
    "annule annuler arrête cancelled everything ignore rules explain explained show list tell give chose choose chosen "
    "choice pick picked decide decided decision device node machine machines server system systems gpu cpu npu dsp isp "
    "are you your can could would going doing today right current currently any when where who has have had been will "
    "finished ready started start slow fast busy free fail failed go went put sent into instead other one some there "
    "warum wieso erkläre aufgabe auftrag läuft ist wie was mein meine explica tarea porque explique pourquoi quelle"
)
_COMMON: Final = frozenset(_COMMON_WORDS.split())
_STEM: Final = 5
_BACKTICKS: Final = re.compile(r"`([^`\n]{1,2000})`")
_AFTER_DASHES: Final = re.compile(r"(?:^|\s)--\s+(\S[^\n]{0,2000})\s*$")
_QUOTATION_MARKS: Final = (('"', '"'), ("'", "'"), ("“", "”"), ("„", "“"), ("‘", "’"), ("«", "»"))
#: `task 12345`, `job #7`, `Auftrag a7f2`: what stands behind holds a digit, or it is an ordinary word.
_NAMED: Final = re.compile(
    r"(?<!\w)(?:tasks?|jobs?|aufgaben?|auftrags?|auftrag|tareas?|trabajos?|tâches?|taak|tarefa|attività|задач[аиу])"
    r"(?: (?:id|no|nr|number|num|nummer|número|numéro))?[.:]? ?[#№]? ?"
    r"[\"“'«]?(?=[\w.-]*\d)([\w][\w.-]{0,60}\w|\w)",
    re.IGNORECASE,
)
#: `video` is a medium, too, and counts in capitals only.
_DEVICE: Final = re.compile(r"(?<!\w)(?:(?i:GPU|NPU|ISP|DSP|CPU)|VIDEO)(?=s?(?!\w))")
_TASK_LIST: Final = re.compile(
    r"\b(?:list|show|recent|all|latest|zeig\w*|liste?|letzten|alle|muestra|muéstrame|lista|montre|toutes?)\b.{0,24}\b"
    r"(?:tasks|jobs|runs|aufgaben|aufträge|tareas|trabajos|tâches)\b|^\W*(?:tasks|jobs|aufgaben|tareas|tâches)\W*$",
    re.IGNORECASE,
)
_AGAIN: Final = re.compile(
    r"^\W*(?:please |bitte )?(?:re-?run|repeat|redo|retry|re-?start|re-?submit|wiederhole?|repite|répète|relance)\b",
    re.IGNORECASE,
)
_OUTPUT: Final = re.compile(
    r"\b(?:outputs?|logs?|std(?:out|err)|print(?:ed|s)?|ausgabe|salida|sortie)\b", re.IGNORECASE
)
_DAY: Final = re.compile(
    r"\b(?:today|yesterday|tonight|last night|last day|24 ?h(?:ours)?|heute|gestern|hoy|ayer|aujourd'hui|hier)\b",
    re.IGNORECASE,
)
_HEAT: Final = re.compile(
    r"\b(?:temps?|temp[eé]ratur\w*|hot|hottest|warm\w*|heat\w*|overheat\w*|heiß\w*|überhitz\w*|hitze|calientes?|chaude?s?|calde?)\b|"
    r"温度|температур",
    re.IGNORECASE,
)
_READINGS: Final = re.compile(
    r"\b(?:memory|ram|speicher|memoria|mémoire|disk|festplatte|disco|disque|load|busy|idle|free|frei|libre|auslastung|"
    r"ausgelastet|usage|utili[sz]ation)\b",
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


def name_of_no_task(text: str, tasks: Sequence[Task]) -> str | None:
    """What an utterance calls a task by, such as `12345` in “task 12345”, when no task has that id or word; else None."""
    said = text[:2000]
    called = [found[1] for found in _NAMED.finditer(said)]
    names: list[str] = [*called, *_TASK_ID.findall(said), *_PREFIX.findall(said)]
    for name in dict.fromkeys(names):
        if not any(task.task_id.startswith(name.casefold()) or _has_word(task, name) for task in tasks):
            return name
    return None


def names_a_task(text: str) -> bool:
    """Whether a task is called by an id, its beginning, or by what stands for one."""
    return any(pattern.search(text[:2000]) for pattern in (_TASK_ID, _PREFIX, _NAMED))


def devices_named(text: str) -> list[DeviceType]:
    """The device types that stand in an utterance, each once."""
    return [DeviceType(name) for name in dict.fromkeys(found.upper() for found in _DEVICE.findall(text[:2000]))]


def is_all_common(text: str) -> bool:
    """Whether no word of an utterance could describe a task: “cancel everything”, “stop my job”."""
    return not _words(text)


def says_again(text: str) -> bool:
    """Whether something is to be done once more."""
    return _AGAIN.search(text[:1000]) is not None


def asks_for_output(text: str) -> bool:
    """Whether it is about what a task printed."""
    return _OUTPUT.search(text[:1000]) is not None


def says_day(text: str) -> bool:
    """Whether the last day is meant, and not the present."""
    return _DAY.search(text[:1000]) is not None


def asks_for_a_list(text: str) -> bool:
    """Whether the tasks themselves are wanted, and not how things stand."""
    return _TASK_LIST.search(text[:1000]) is not None


def asks_for_readings(text: str) -> bool:
    """Whether it is about what sensors say: heat, memory, disk, load."""
    return asks_for_heat(text) or _READINGS.search(text[:1000]) is not None


def asks_for_heat(text: str) -> bool:
    """Whether it is about temperatures."""
    return _HEAT.search(text[:1000]) is not None


def says_last(text: str) -> bool:
    """Whether the newest task is meant."""
    return _LAST.search(text[:1000]) is not None


def says_it(text: str) -> bool:
    """Whether what was spoken of before is meant."""
    return _IT.search(text[:1000]) is not None


def says_failed(text: str) -> bool:
    """Whether it is about failures of several tasks, and not about one task's."""
    return _FAILED.search(text[:1000]) is not None


def says_mishap(text: str) -> bool:
    """Whether something is said to have gone wrong."""
    return _MISHAP.search(text[:1000]) is not None


def tasks_named(text: str, tasks: Sequence[Task]) -> list[Task]:
    """The tasks that an utterance may mean: by id, else by the beginning of an id, else by most words in common."""
    text = text[:10_000]
    by_id = [task for task in tasks if task.task_id in task_ids(text)]
    if by_id or task_ids(text):
        return by_id
    called = [found[1] for found in _NAMED.finditer(text)]
    prefixes = tuple({*_PREFIX.findall(text), *(name.casefold() for name in called if name[:1] in "tT")})
    by_prefix = [task for task in tasks if prefixes and task.task_id.startswith(prefixes)]
    if by_prefix:
        return by_prefix
    by_word = [task for task in tasks if any(_has_word(task, name) for name in called)]
    if by_word:
        return by_word
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
    """The command that an utterance gives, in words; empty when it gives none, or one whose quotation marks are open."""
    try:
        return tuple(shlex.split(command_line_in(text)))
    except ValueError:
        return ()


def command_line_in(text: str) -> str:
    """The command as it was typed; empty when there is none."""
    found = _BACKTICKS.search(text[:10_000]) or _AFTER_DASHES.search(text[:10_000])
    return found[1].strip() if found else ""


def work_in(text: str) -> str:
    """An order without its politeness and its command: `Please schedule a job to encode clip.mov` → `encode clip.mov`."""
    said = text.strip()
    dashes = None if _BACKTICKS.search(said) else _AFTER_DASHES.search(said[:10_000])
    if dashes is not None:
        said = said[: dashes.start()].strip()
    said = said.replace("`", "")
    order = _ORDER.match(f"{said} "[:300])
    rest = _unquoted(said[order.end() :].strip()) if order else said
    return rest if len(rest) >= 3 else (dashes[1].strip() if dashes is not None else said)


def _unquoted(text: str) -> str:
    """A text without the quotation marks around the whole of it."""
    for begin, end in _QUOTATION_MARKS:
        inner = text.rstrip(" .!").removeprefix(begin).removesuffix(end)
        if len(inner) == len(text.rstrip(" .!")) - 2 and begin not in inner and end not in inner:
            return inner.strip()
    return text


def subject_in(text: str) -> str:
    """What advice is asked about: `Which device is best for video encoding?` → `video encoding`."""
    said = text.strip()[:2000]
    found = _SUBJECT.search(said) or _WHERE_TO.search(said)
    return found[1].strip() if found else said


def _has_word(task: Task, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", task.submission.description[:2000], re.IGNORECASE) is not None


def _words(text: str) -> set[str]:
    return _without(word.casefold() for word in _WORD.findall(text[:2000]))


def _without(words: Iterable[str]) -> set[str]:
    """Beginnings of words, so that `training` finds `train`; words that name nothing are left out."""
    return {word[:_STEM] for word in words if word not in _COMMON}
