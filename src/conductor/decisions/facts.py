"""Gather what one request gives a decision to work with, and write down what the decision rested on.

`request_of` joins submission, analysis and workload profile and checks the metadata that decisions understand.
`as_evidence` is the reverse: plain JSON with every fact that reasoning and explanation may cite.

Not covered: metadata that decisions do not understand; it is kept with the task and ignored here.
"""

import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from conductor.decisions.analyse import Analysis
from conductor.decisions.attached import attached_evidence, attached_quantities, attached_sizes, own_words, weighed
from conductor.decisions.estimate import Estimates
from conductor.decisions.features import Features, features_of
from conductor.decisions.quantities import Quantity
from conductor.decisions.said import as_facts
from conductor.decisions.urgency import Priority, deadline_unix_s, stated_priority
from conductor.domain.attachment import Attachment
from conductor.domain.decision import Ranking
from conductor.domain.device import DeviceType
from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject
from conductor.domain.node import NodeId
from conductor.domain.task import Submission
from conductor.domain.workload import WorkProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One task as the decision sees it.

    `features` are the description's, `work` adds what was measured on attached files, for estimates. `key` is equal for
    requests that must be decided alike; None when the answer depends on the moment (a deadline).
    """

    analysis: Analysis
    features: Features
    work: Features
    attachments: tuple[Attachment, ...]
    metadata: JsonObject
    signature: str
    sizes: Mapping[str, float]
    memory_limit_bytes: int | None
    pinned_node: NodeId | None
    key: Hashable | None


def request_of(
    submission: Submission, analysis: Analysis, profile: WorkProfile | None, shown: Analysis | None = None
) -> Request:
    """Join what is known of a task; `shown` is the reading of what its pictures show, where there is one.

    Raises:
        InvalidInput: the metadata names an impossible priority, deadline, node or quantity.
    """
    metadata = submission.metadata
    priority, deadline = stated_priority(metadata), deadline_unix_s(metadata)
    node, quantity = _pinned_node(metadata), _quantity(metadata)
    features, text_sizes = analysis.features, analysis.sizes
    attachments = submission.attachments
    if attachments:  # without the words that were added for reading
        features = features_of(submission.description)
        text_sizes = features.sizes()
    if quantity is not None:
        features = replace(features, quantities=(*features.quantities, Quantity("count", quantity, "metadata")))
        text_sizes = features.sizes()
    signature = profile.signature if profile else ""
    sizes = {**text_sizes, **(profile.sizes if profile else {})}
    work = features
    if attachments:
        analysis, sizes = weighed(analysis, attachments, shown), {**sizes, **attached_sizes(attachments)}
        work = replace(features, quantities=(*features.quantities, *attached_quantities(attachments)))
    limit = submission.workload.limits.memory_bytes if submission.workload else None
    return Request(
        analysis=analysis,
        features=features,
        work=work,
        attachments=attachments,
        metadata=metadata,
        signature=signature,
        sizes=sizes,
        memory_limit_bytes=limit,
        pinned_node=node,
        key=None
        if deadline is not None
        else (
            *(analysis.key, signature, tuple(sizes.items()), limit, node, priority),
            *((each.attachment_id, each.name, each.described) for each in attachments),
            shown is not None,
        ),
    )


def _pinned_node(metadata: JsonObject) -> NodeId | None:
    node = metadata.get("node")
    if node is None:
        return None
    if not isinstance(node, str) or not node:
        raise InvalidInput(f"metadata.node is {node!r}; it must be the id of a node", field="metadata.node")
    return NodeId(node)


def _quantity(metadata: JsonObject) -> float | None:
    quantity = metadata.get("quantity")
    if quantity is None:
        return None
    if isinstance(quantity, bool) or not isinstance(quantity, int | float) or not 0 < quantity <= sys.float_info.max:
        raise InvalidInput(
            f"metadata.quantity is {quantity!r}; it must be how many items there are, a number above 0",
            field="metadata.quantity",
        )
    return float(quantity)


def as_evidence(
    request: Request,
    ranking: Ranking,
    estimates: Estimates,
    *,
    device: DeviceType,
    priority: Priority,
    raw_confidence: float,
    margin: float,
    similar_runs: float,
    device_runs: tuple[float, float],
) -> JsonObject:
    """What a decision rests on, as plain JSON with finite numbers."""
    features = request.features
    return {
        "language": features.language.code,
        "language_certainty": features.language.certainty,
        "quantities": [{"name": q.name, "value": q.value, "text": q.text} for q in features.quantities],
        "media": list(features.media),
        "verbs": list(features.verbs),
        "batch": features.batch,
        "notes": list(features.notes),
        "language_model": as_facts(
            request.analysis.proposal, own_words(request.analysis.description, request.attachments), device
        ),
        "kind_probability": round(request.analysis.kind_probability, 6),
        "margin": round(margin, 6),
        "similar_runs": round(similar_runs, 6),
        "device_successes": round(device_runs[0], 6),
        "device_failures": round(device_runs[1], 6),
        "estimate_basis": estimates.basis,
        "estimate_runs": estimates.runs,
        "priority_reason": priority.reason,
        "raw_confidence": float(raw_confidence),
        "pinned_node": request.pinned_node,
        "rejected": [{"node_id": node.node_id, "because": node.rejected_because} for node in ranking.rejected],
        **attached_evidence(request.attachments),
    }
