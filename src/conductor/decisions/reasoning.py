"""Put a decision into two to five sentences that name its evidence.

Every number here stands in the decision itself; nothing is computed but percentages. Which sentences appear, and what
they lean on, follows what decided: the wording of the description, past tasks, measured runs, or a lack in the fleet.
The full breakdown is `explain`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from conductor.domain.decision import Decision, NodeScore
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.json import JsonObject
from conductor.domain.units import format_duration

KIND_WORDS: Final = MappingProxyType(
    {
        TaskKind.TRAINING: "training a model",
        TaskKind.INFERENCE: "running a trained network",
        TaskKind.LLM_GENERATION: "text generation by a language model",
        TaskKind.SIMULATION: "numerical simulation",
        TaskKind.RENDERING: "rendering",
        TaskKind.VIDEO_TRANSCODE: "video encoding or decoding",
        TaskKind.VIDEO_ANALYSIS: "looking into videos",
        TaskKind.IMAGE_PROCESSING: "image processing",
        TaskKind.AUDIO_PROCESSING: "audio processing",
        TaskKind.SIGNAL_PROCESSING: "signal processing",
        TaskKind.DATA_PROCESSING: "work on data",
        TaskKind.WEB_OR_IO: "fetching or moving files",
        TaskKind.COMPILE_OR_BUILD: "building software",
        TaskKind.CRYPTO_OR_COMPRESSION: "encryption or compression",
        TaskKind.GENERAL: "general work",
    }
)
#: How the note begins that says why there was no language model (`analyse`).
ABSENT: Final = "the language model did not take part"
#: From this certainty on a choice is called clear, below the other it is called close.
_CLEAR, _CLOSE = 0.85, 0.2
#: From here on a share would be written as 100 %, which nobody can know.
_ROUNDS_TO_CERTAIN: Final = 0.995
#: A share below it would be shown as none, and what is left of it as all.
_SMALLEST_SHOWN: Final = 0.001


def reasoning_of(decision: Decision) -> str:
    """Two to five sentences on why this device, this node, this estimate."""
    sentences = [
        _recognition(decision),
        _language_model(decision),
        _history(decision),
        _fleet(decision),
        _estimate(decision),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def percent(share: float) -> str:
    """`0.934` → `93 %`."""
    return f"{share * 100:.0f} %"


def share_words(share: float) -> str:
    """`0.934` → `93 %`; near 0 and 1 with a decimal, and never a certainty: the others were possible too."""
    if 0.01 <= share <= 0.99:
        return percent(share)
    if share < _SMALLEST_SHOWN:
        return "< 0.1 %"
    return f"{share * 100:.1f} %" if share < 1 - _SMALLEST_SHOWN else "> 99.9 %"


def strings(evidence: JsonObject, name: str) -> Sequence[str]:
    """A list of strings in the evidence; empty when it is not there."""
    found = evidence.get(name)
    return [item for item in found if isinstance(item, str)] if isinstance(found, Sequence) else []


def quantity_words(evidence: JsonObject) -> list[str]:
    """The quantities in the words they were found in."""
    found = evidence.get("quantities")
    items = found if isinstance(found, Sequence) else ()
    return [str(item["text"]) for item in items if isinstance(item, dict) and "text" in item]


def number(evidence: JsonObject, name: str) -> float:
    """A number in the evidence; 0 when it is not there."""
    found = evidence.get(name)
    return float(found) if isinstance(found, int | float) else 0.0


def _recognition(decision: Decision) -> str:
    share = dict(decision.device_probabilities)[decision.device]
    margin = number(decision.evidence, "margin")
    quantities = quantity_words(decision.evidence)[:3]
    media = [medium for medium in strings(decision.evidence, "media")[:2] if medium not in " ".join(quantities)]
    surface = [*quantities, *media]
    mentions = f" and mentions {', '.join(surface)}" if surface else ""
    subject = f"This reads as {KIND_WORDS[decision.task_kind]}{_attached(decision.evidence)}{mentions}"
    if margin < _CLOSE:
        return f"{subject}; {decision.device} ({percent(share)}) wins narrowly over {decision.runner_up}."
    if share >= _CLEAR:
        sure = f" ({percent(share)})" if share < _ROUNDS_TO_CERTAIN else ""
        return f"{subject}, which is clearly work for {article(decision.device)}{sure}."
    return f"{subject}; {decision.device} is the likeliest home ({percent(share)}), {decision.runner_up} the next."


def _language_model(decision: Decision) -> str:
    """What the language model points at; its own sentence where it wrote one that holds."""
    said = decision.evidence.get("language_model")
    if not isinstance(said, Mapping):
        absent = [note for note in strings(decision.evidence, "notes") if note.startswith(ABSENT)]
        return f"{absent[0][0].upper()}{absent[0][1:].rstrip('.')}." if absent else ""
    cues, device = _quoted(strings(said, "cues")), str(said.get("device"))
    reason = str(said.get("reason") or "")
    if device != decision.device:
        because = f", pointing at {cues}," if cues else ""
        return f"The language model{because} leaned to {article(DeviceType(device))} and was outvoted."
    if reason:
        return f"The language model adds: {reason.rstrip('.')}."
    return f"The language model points to {cues}." if cues else ""


def _quoted(words: Sequence[str]) -> str:
    """`“a”, “b” and “c”`."""
    quoted = [f"“{word}”" for word in words]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _attached(evidence: JsonObject) -> str:
    """` for the attached photo (4032×3024, 12 MP)`; empty when nothing is attached."""
    found = evidence.get("attachments")
    files = [item for item in found if isinstance(item, dict)] if isinstance(found, Sequence) else []
    if not files:
        return ""
    seen = next((str(item["described"]) for item in files if item.get("described")), "")
    seen = f", which a model sees as “{seen}”" if seen else ""
    first = f"{files[0]['noun']} ({files[0]['extent']})"
    return (
        f" for the attached {first}{seen}" if len(files) == 1 else f" for {len(files)} attached files, first a {first}"
    )


def _history(decision: Decision) -> str:
    if not decision.similar:
        return ""
    nearest = decision.similar[0]
    how = "succeeded" if nearest.succeeded else "failed"
    took = f" in {format_duration(nearest.duration_s)}" if nearest.succeeded and nearest.duration_s else ""
    others = [task for task in decision.similar[1:] if task.succeeded is not nearest.succeeded]
    turn = f", though another {'failed' if nearest.succeeded else 'succeeded'} on {others[0].device}" if others else ""
    return (
        f"The most similar past task (“{_short(nearest.description)}”, {percent(nearest.similarity)} alike) {how} on "
        f"{nearest.device}{took}{turn}."
    )


def _fleet(decision: Decision) -> str:
    if not decision.nodes:
        reason = _first_rejection(decision.evidence)
        return f"No node can take it now{': ' + reason if reason else ''}."
    best = decision.nodes[0]
    lead = (
        "" if len(decision.nodes) == 1 else f", ahead of {decision.nodes[1].node_id} at {decision.nodes[1].score:.2f}"
    )
    where = f"{best.node_id} (score {best.score:.2f}{lead})"
    if best.expected_s is not None and len(decision.nodes) > 1:
        where = f"{best.node_id} ({_expected(best)}, against {_expected(decision.nodes[1], on=True)})"
    if decision.available_device is not decision.device:
        return f"No {decision.device} is to be had here, so {article(decision.available_device)} stands in, on {where}."
    return f"It fits best on {where}."


def _expected(node: NodeScore, *, on: bool = False) -> str:
    where = f" on {node.node_id}" if on else ""
    runs = f"by {node.expected_runs} run{'' if node.expected_runs == 1 else 's'} there" if node.expected_runs else ""
    return f"done in {format_duration(node.expected_s or 0.0)}{where} {runs or 'if it is as expected, not tried yet'}"


def _estimate(decision: Decision) -> str:
    duration = decision.duration_s
    span = f"{format_duration(duration.value)} ({format_duration(duration.low)} to {format_duration(duration.high)})"
    basis, runs = decision.evidence.get("estimate_basis"), round(number(decision.evidence, "estimate_runs"))
    if basis == "workload":
        source = "the one time this workload ran" if runs == 1 else f"{runs} measured runs of this workload"
        return f"Expect {span}, going by {source}."
    if basis == "similar":
        return f"Expect {span}, going by similar tasks; this workload itself has not run yet."
    return f"Expect roughly {span}: nothing like it was measured yet, so this is a rule of thumb."


def _first_rejection(evidence: JsonObject) -> str:
    rejected = evidence.get("rejected")
    if isinstance(rejected, Sequence) and rejected and isinstance(rejected[0], dict):
        return f"{rejected[0]['node_id']}: {rejected[0]['because']}"
    return ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def article(device: DeviceType) -> str:
    """`a GPU`, `an NPU`, `a VIDEO engine`."""
    name = "VIDEO engine" if device is DeviceType.VIDEO else device
    return f"an {name}" if device in (DeviceType.NPU, DeviceType.ISP) else f"a {name}"
