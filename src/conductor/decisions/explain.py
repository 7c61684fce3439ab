"""Lay a decision open in sections: what was recognised, why this device and why not the others, and so on.

For people (`conductor explain`) and programs (the same sections as JSON). Everything is read from the recorded
decision, nothing is decided again, so an old task is explained by what was known then.

For each node that lost it says what alone would have made it win, from the stored parts of its score (FEATURES X2,
first form; the parts weigh 0.4 thermal, 0.3 queue, 0.2 capability, 0.1 history, FEATURES G4).

Not covered: changes of several parts together, changes of the weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conductor.decisions.confidence import MOST_CONFIDENT, WEIGHTS
from conductor.decisions.reasoning import KIND_WORDS, number, percent, quantity_words, share_words, strings
from conductor.domain.decision import Decision, Estimate, NodeScore
from conductor.domain.json import JsonObject
from conductor.domain.outcome import Outcome
from conductor.domain.units import format_duration

_SCORE_WEIGHTS: Final = (("thermal", 0.4), ("queue", 0.3), ("capability", 0.2), ("history", 0.1))
_BASIS: Final = {
    "workload": "measured runs of this workload",
    "similar": "measured runs of similar tasks",
    "prior": "the table of rules of thumb, nothing having been measured",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One heading with its lines."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a task was decided as it was."""

    task_id: str
    sections: tuple[Section, ...]

    def text(self) -> str:
        """The sections as plain text."""
        blocks = ["\n".join([section.title, *(f"  {line}" for line in section.lines)]) for section in self.sections]
        return "\n\n".join(blocks)

    def as_json(self) -> JsonObject:
        """The sections as plain JSON."""
        return {
            "task_id": self.task_id,
            "sections": [{"title": section.title, "lines": list(section.lines)} for section in self.sections],
        }


def explain(decision: Decision, outcome: Outcome | None = None) -> Explanation:
    """Explain a recorded decision, and compare it with its outcome where there is one."""
    sections = [
        Section(title="In short", lines=(decision.reasoning,)),
        Section(title="What the description says", lines=_recognised(decision)),
        Section(title="Attached files", lines=_attached(decision)),
        Section(title="Device", lines=_devices(decision)),
        Section(title="Nodes", lines=_nodes(decision)),
        Section(title="Priority and estimates", lines=_estimates(decision)),
        Section(title="Confidence", lines=_confidence(decision)),
        Section(title="Similar past tasks", lines=_similar(decision)),
        Section(title="What came of it", lines=_outcome(decision, outcome)),
        Section(title="Models that took part", lines=_models(decision)),
    ]
    return Explanation(task_id=decision.task_id, sections=tuple(section for section in sections if section.lines))


def _models(decision: Decision) -> tuple[str, ...]:
    unseen = "its weights are behind the endpoint and cannot be checked"
    return tuple(f"{name} · {f'sha256 {digest}' if digest else unseen}" for name, digest in decision.models)


def _recognised(decision: Decision) -> tuple[str, ...]:
    evidence = decision.evidence
    certainty = share_words(number(evidence, "kind_probability"))
    found = {
        "language": str(evidence.get("language", "")),
        "quantities": ", ".join(quantity_words(evidence)),
        "media": ", ".join(strings(evidence, "media")),
        "operations": ", ".join(strings(evidence, "verbs")),
        "many items": "yes" if evidence.get("batch") else "",
    }
    return (
        f"kind of work: {KIND_WORDS[decision.task_kind]} ({certainty})",
        *(f"{name}: {value}" for name, value in found.items() if value),
        *(f"note: {note}" for note in strings(evidence, "notes")),
    )


def _attached(decision: Decision) -> tuple[str, ...]:
    found = decision.evidence.get("attachments")
    lines: list[str] = []
    for item in found if isinstance(found, Sequence) else ():
        if isinstance(item, dict):
            lines.append(f"{item['name']}: {item['noun']}, {item['media_type']}, {item['extent']}")
            lines += [f"  {line}" for line in strings(item, "lines")]
    return tuple(lines)


def _devices(decision: Decision) -> tuple[str, ...]:
    ordered = sorted(decision.device_probabilities, key=lambda pair: -pair[1])
    ranks = {decision.device: "chosen", decision.runner_up: "runner-up"}
    lines = [f"{device}: {share_words(share)}{_tag(ranks.get(device, ''))}" for device, share in ordered]
    if decision.available_device is not decision.device:
        lines.append(
            f"the fleet offers no {decision.device} for this now; {decision.available_device} is the best it has"
        )
    failures = number(decision.evidence, "device_failures")
    if failures:
        successes = number(decision.evidence, "device_successes")
        lines.append(
            f"lately on {decision.available_device}: {successes:.1f} successes and {failures:.1f} failures, "
            "older ones counting less"
        )
    return tuple(lines)


def _tag(rank: str) -> str:
    return f" ← {rank}" if rank else ""


def _nodes(decision: Decision) -> tuple[str, ...]:
    if not decision.nodes:
        return ("no node can take it now", *_rejections(decision.evidence))
    best, *others = decision.nodes
    lines = [f"{best.node_id}: {_score(best)} ← best"]
    for node in others:
        lines.append(f"{node.node_id}: {_score(node)}")
        lines.append(f"  {_why_not(node, best)}")
    return (*lines, *_rejections(decision.evidence))


def _score(node: NodeScore) -> str:
    parts = ", ".join(f"{name} {getattr(node, name):.2f}" for name, _ in _SCORE_WEIGHTS)
    return f"{node.score:.3f} ({parts}){'; ' + node.remark if node.remark else ''}"


def _why_not(node: NodeScore, best: NodeScore) -> str:
    """What cost a node most against the best, and which single change would have turned it."""
    if node.expected_s is not None and best.expected_s is not None and node.expected_s != best.expected_s:
        runs = f"{node.expected_runs} and {best.expected_runs} runs of this work"
        turn = (
            f"it would have won if it were done before {format_duration(best.expected_s)}"
            if node.expected_s > best.expected_s
            else "the other one is tried because it was measured less and may be faster"
            if best.expected_runs < node.expected_runs
            else "so near that the better score decides"
        )
        return f"expected {format_duration(node.expected_s)} against {format_duration(best.expected_s)}, from {runs}; {turn}"
    behind = best.score - node.score
    costs = {name: weight * (getattr(best, name) - getattr(node, name)) for name, weight in _SCORE_WEIGHTS}
    dearest = max(costs, key=lambda name: costs[name])
    if costs[dearest] <= 0:
        return f"{behind:.3f} behind; equal scores go to the first"
    changes = {name: getattr(node, name) + behind / weight for name, weight in _SCORE_WEIGHTS}
    enough = [f"{name} above {needed:.2f}" for name, needed in changes.items() if needed < 1.0]
    turn = f"it would have won with {' or '.join(enough)}" if enough else "no single part could have made up for that"
    return f"{behind:.3f} behind, mostly by {dearest}; {turn}"


def _rejections(evidence: JsonObject) -> tuple[str, ...]:
    rejected = evidence.get("rejected")
    nodes = rejected if isinstance(rejected, Sequence) else ()
    return tuple(f"{node['node_id']}: not a candidate, {node['because']}" for node in nodes if isinstance(node, dict))


def _estimates(decision: Decision) -> tuple[str, ...]:
    units = decision.compute_units
    basis = _BASIS.get(str(decision.evidence.get("estimate_basis", "")), "")
    runs = round(number(decision.evidence, "estimate_runs"))
    return (
        f"priority {decision.priority}: {decision.evidence.get('priority_reason', '')}",
        f"duration {_duration(decision.duration_s)}, in four cases of five",
        f"compute units {units.value:.2f} ({units.low:.2f} to {units.high:.2f})",
        f"both rest on {basis}{f' ({runs} so far)' if runs else ''}",
    )


def _duration(estimate: Estimate) -> str:
    return f"{format_duration(estimate.value)} ({format_duration(estimate.low)} to {format_duration(estimate.high)})"


def _confidence(decision: Decision) -> tuple[str, ...]:
    parts = decision.parts
    named = (
        ("similarity to past tasks", parts.similarity),
        ("success on this device type", parts.device_success),
        ("node availability", parts.node_availability),
        ("resource availability", parts.resource_availability),
    )
    lines = [f"{percent(weight)} × {name} {value:.3f}" for (name, value), weight in zip(named, WEIGHTS, strict=True)]
    raw = number(decision.evidence, "raw_confidence")
    if abs(raw - decision.confidence) < 0.0005:
        corrected = ""
    elif raw > decision.confidence == MOST_CONFIDENT:
        corrected = f", which is the most that is ever stated; {raw:.3f} before"
    else:
        corrected = f", {raw:.3f} before correction by the track record"
    return (*lines, f"together {decision.confidence:.3f}{corrected}")


def _similar(decision: Decision) -> tuple[str, ...]:
    return tuple(
        f"{task.task_id}: “{' '.join(task.description.split())[:80]}”, {percent(task.similarity)} alike, "
        f"{'succeeded' if task.succeeded else 'failed'} on {task.device}"
        + (f" in {format_duration(task.duration_s)}" if task.duration_s is not None else "")
        for task in decision.similar
    )


def _outcome(decision: Decision, outcome: Outcome | None) -> tuple[str, ...]:
    if outcome is None:
        return ()
    expected = decision.duration_s
    lines = [f"{outcome.ending} on {outcome.node_id}: {outcome.message}"]
    if outcome.succeeded:
        held = expected.low <= outcome.duration_s <= expected.high
        lines.append(
            f"took {format_duration(outcome.duration_s)} where {format_duration(expected.value)} was expected, "
            f"{'within' if held else 'outside'} the interval"
        )
    return tuple(lines)
