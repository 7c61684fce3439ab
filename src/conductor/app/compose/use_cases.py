"""Build the use cases on the parts, and the one object that faces hold."""

import os
import random

from conductor.adapters.access_key import AccessKey
from conductor.adapters.intent_reader.reader import LinearIntentReader
from conductor.app.access import Access
from conductor.app.compose.foundation import Foundation
from conductor.app.compose.parts import Parts
from conductor.app.conductor import Conductor
from conductor.app.correcting import Correcting
from conductor.app.ledger_desk import LedgerDesk
from conductor.app.metrics import Metrics
from conductor.app.minds.report import MindHistory
from conductor.app.snapshots import Snapshots
from conductor.app.talk import Talk
from conductor.app.tasks import Tasks
from conductor.app.vitals import Vitals


def build_conductor(parts: Parts) -> Conductor:
    """Every use case on the same parts."""
    foundation, minds = parts.foundation, parts.minds
    clock, committer, keeper = foundation.clock, foundation.committer, parts.record.keeper
    tasks = _tasks(parts)
    ledger = LedgerDesk(keeper, parts.record.outbox)
    access = Access(_key(foundation), parts.execution.registry.kinds)
    vitals = _vitals(parts, ledger)
    return Conductor(
        configuration=foundation.configuration,
        access=access,
        tasks=tasks,
        ledger=ledger,
        models=minds.models,
        metrics=Metrics(),
        talk=_talk(parts, tasks, ledger, access, vitals),
        tuning=minds.tuning,
        correcting=Correcting(
            tasks=tasks,
            maker=minds.maker,
            store=minds.corrections,
            keeper=keeper,
            committer=committer,
            clock=clock,
        ),
        mind_history=MindHistory(minds.experiences, committer, clock, limit=foundation.settings.mind.experiences),
        attachments=parts.execution.attachments,
        serving=parts.serving.serving,
        gateway=parts.serving.gateway,
        files=parts.serving.files,
        batches=parts.serving.batches,
        vitals=vitals,
        roster=parts.fleet.roster,
        performance=parts.fleet.performance,
        tasks_folder=foundation.folder.paths.tasks,
    )


def _tasks(parts: Parts) -> Tasks:
    execution, minds = parts.execution, parts.minds
    return Tasks(
        clock=parts.foundation.clock,
        random_bits=random.Random(os.urandom(32)).getrandbits,  # noqa: S311  # identifiers are no secrets
        maker=minds.maker,
        executor=execution.registry,
        transitions=execution.transitions,
        dispatcher=execution.dispatcher,
        archive=execution.journal,
        committer=parts.foundation.committer,
        live=execution.live,
        experiences=minds.experiences,
    )


def _key(foundation: Foundation) -> AccessKey | None:
    """The key that calls need; None where the settings say that they need none."""
    if not foundation.settings.server.require_key:
        return None
    return AccessKey.load_or_create(
        foundation.folder.paths.access_key,
        clock=foundation.clock,
        user_id=foundation.installation.around.user_id,
        session_valid_s=foundation.settings.server.session_s,
    )


def _vitals(parts: Parts, ledger: LedgerDesk) -> Vitals:
    return Vitals(
        clock=parts.foundation.clock,
        configuration=parts.foundation.configuration,
        committer=parts.foundation.committer,
        ledger=ledger,
        tuning=parts.minds.tuning,
        models=parts.minds.models,
        registry=parts.execution.registry,
        dispatcher=parts.execution.dispatcher,
        failing_models=parts.serving.serving.failing,
    )


def _talk(parts: Parts, tasks: Tasks, ledger: LedgerDesk, access: Access, vitals: Vitals) -> Talk:
    clock, configuration = parts.foundation.clock, parts.foundation.configuration
    return Talk(
        clock=clock,
        tasks=tasks,
        snapshots=Snapshots(
            clock=clock,
            tasks=tasks,
            roster=parts.fleet.roster,
            performance=parts.fleet.performance,
            dispatcher=parts.execution.dispatcher,
            ledger=ledger,
            models=parts.minds.models.now,
            problems=vitals.problems,
        ),
        reader=LinearIntentReader(parts.minds.encoder),
        check_workload=access.check_workload,
        limits=configuration.default_limits,
    )
