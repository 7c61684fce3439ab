"""Build what decides: the encoder, the language model of the settings, what was remembered, and the tuned version."""

import asyncio
import contextlib
from dataclasses import dataclass

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.mind_tuning.guard import read_guard
from conductor.adapters.mind_tuning.versions import Versions
from conductor.adapters.minds.worker import WorkerMind
from conductor.adapters.sql.corrections import SqlCorrections
from conductor.adapters.sql.records import SqlExperiences
from conductor.app.compose.fleet import Fleet
from conductor.app.compose.foundation import Foundation
from conductor.app.compose.record import Record
from conductor.app.minds.active import ActiveModels
from conductor.app.minds.chosen import language_model
from conductor.app.minds.tuning import Tuning
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import LanguageModel
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending
from conductor.fleet.performance import PerformanceBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Minds:
    """What decides, and what it learns from.

    Args:
        language_model: as admitted; a foreign one is loaded in the background.
        models: who takes part.
    """

    encoder: OnnxEncoder
    language_model: LanguageModel | None
    models: ActiveModels
    maker: DecisionMaker
    experiences: SqlExperiences
    corrections: SqlCorrections
    tuning: Tuning


async def wake_minds(
    foundation: Foundation, fleet: Fleet, record: Record, encoder: OnnxEncoder, undo: contextlib.AsyncExitStack
) -> Minds:
    """Admit the models to decisions, restore what was remembered and tuned; `undo` ends a model's own process."""
    models = ActiveModels(record.keeper)
    await models.add(
        encoder.name, await asyncio.to_thread(lambda: encoder.checksum), "reads descriptions and questions"
    )
    admitted = await _admitted(models, foundation, undo)
    places = foundation.settings.mind.experiences
    memory = ExperienceMemory(width=encoder.width, places=places)
    maker = DecisionMaker(encoder, fleet.placement, memory, foundation.clock, admitted)
    experiences = SqlExperiences(foundation.database, foundation.committer)
    await _remember(experiences, places, maker, fleet.performance)
    corrections = SqlCorrections(foundation.database, foundation.committer)
    tuning = Tuning(
        maker=maker,
        models=models,
        encoder=encoder,
        versions=Versions(foundation.folder.paths.mind),
        corrections=corrections,
        experiences=experiences,
        keeper=record.keeper,
        clock=foundation.clock,
        read_guard=read_guard,
    )
    await tuning.restore()
    return Minds(
        encoder=encoder,
        language_model=admitted,
        models=models,
        maker=maker,
        experiences=experiences,
        corrections=corrections,
        tuning=tuning,
    )


async def _admitted(
    models: ActiveModels, foundation: Foundation, undo: contextlib.AsyncExitStack
) -> LanguageModel | None:
    chosen = language_model(foundation.settings, foundation.installation.around, foundation.clock)
    if isinstance(chosen, WorkerMind):
        undo.callback(chosen.close)
    return await models.admit(chosen)


async def _remember(
    experiences: SqlExperiences, limit: int, maker: DecisionMaker, performance: PerformanceBook
) -> None:
    """Let the latest outcomes of earlier runs count in decisions and in the scores of their nodes."""
    remembered = list(await experiences.recall(limit))
    maker.restore(remembered)
    for past in remembered:
        for attempt in past.failed_attempts:
            performance.observe(NodeId(attempt.node_id), Ending.EXIT_CODE, duration_s=0.0, predicted_duration_s=None)
        performance.observe(
            NodeId(past.node_id),
            Ending.SUCCEEDED if past.succeeded else Ending.EXIT_CODE,
            duration_s=past.duration_s,
            predicted_duration_s=past.predicted_duration_s,
        )
