"""Build the product from its settings and run it: the only place that names concrete classes.

`running` starts everything in order (folder, database, ledger, machine, unfinished tasks), keeps the background tasks
under one parent, and ends them in the opposite order: no new work, running work drained, entries sealed, rows written.
"""

import asyncio
import contextlib
import gc
import os
import random
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import structlog

from conductor.adapters.access_key import AccessKey
from conductor.adapters.attachments.confined import ConfinedReader
from conductor.adapters.attachments.folder import AttachmentFolder
from conductor.adapters.attachments.staging import Staging
from conductor.adapters.clock import SystemClock
from conductor.adapters.data_folder import DataFolder
from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.intent_reader.reader import LinearIntentReader
from conductor.adapters.ledger_file import DiskLedgerFile
from conductor.adapters.local_processes.control_groups import ControlGroups
from conductor.adapters.local_processes.facts import find_facts
from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.adapters.mind_tuning.guard import read_guard
from conductor.adapters.mind_tuning.versions import Versions
from conductor.adapters.minds.worker import WorkerMind
from conductor.adapters.schnorr import SchnorrSigner, schnorr_check
from conductor.adapters.sensors.machine import LocalMachine
from conductor.adapters.sensors.probes import installed_probes, own_probes
from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.sql.corrections import SqlCorrections
from conductor.adapters.sql.database import Database
from conductor.adapters.sql.records import SqlExperiences, SqlOutbox, SqlReadings, SqlSettings
from conductor.adapters.sql.tasks import SqlTasks
from conductor.adapters.watched_files import file_changes
from conductor.adapters.workloads.command import CommandKind
from conductor.adapters.workloads.embed import EmbedKind
from conductor.adapters.workloads.noop import NoopKind
from conductor.adapters.workloads.python_callable import PythonKind
from conductor.adapters.workloads.registry import WorkloadRegistry
from conductor.app.access import Access
from conductor.app.attachments import Attachments
from conductor.app.conductor import Conductor
from conductor.app.configuration import Configuration
from conductor.app.correcting import Correcting
from conductor.app.installation import Installation
from conductor.app.ledger_desk import LedgerDesk
from conductor.app.ledgering import LedgerKeeper
from conductor.app.live import LiveView
from conductor.app.logs import configure_logging
from conductor.app.machine import MachineWatch
from conductor.app.metrics import Metrics
from conductor.app.mind_report import MindHistory
from conductor.app.minds import ActiveModels, language_model
from conductor.app.settings.load import database_url
from conductor.app.settings.model import Settings
from conductor.app.snapshots import Snapshots
from conductor.app.talk import Talk
from conductor.app.tasks import Tasks
from conductor.app.tuning import Tuning
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.clock import Clock
from conductor.domain.event import TaskEvent
from conductor.domain.node import Node, NodeId
from conductor.domain.outcome import Ending
from conductor.domain.task import FINAL, Level, Task, TaskState
from conductor.fleet.confinement import ConfinementPolicy, carve
from conductor.fleet.inventory import merge_devices
from conductor.fleet.performance import PerformanceBook
from conductor.fleet.roster import Roster
from conductor.ledger.chain import Ledger
from conductor.scheduling.dispatch import Dispatcher
from conductor.scheduling.place import PlacementTable
from conductor.scheduling.pools import PoolNeed, Pools
from conductor.scheduling.ports import WorkloadKind
from conductor.scheduling.queue import FairQueue, QueueRules
from conductor.scheduling.retry import RetryPolicy
from conductor.scheduling.transitions import Transitions

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def running(
    installation: Installation, *, url: str | None = None, dispatch: bool = True
) -> AsyncIterator[Conductor]:
    """The product, running for the duration of the block.

    Args:
        installation: its settings and files.
        url: told to other processes of this user.
        dispatch: False only looks: waiting tasks stay waiting, nothing is executed.

    Raises:
        Conflict: another process uses the installation.
        SettingsError, StorageError, LedgerError: it cannot start; the message says why and what to do.
    """
    folder = await asyncio.to_thread(DataFolder.open, installation.data_dir, user_id=installation.around.user_id)
    async with contextlib.AsyncExitStack() as undo:
        undo.callback(folder.close)
        database = await Database.open(database_url(installation.settings))
        undo.push_async_callback(database.close)
        conductor = await undo.enter_async_context(_started(installation, folder, database, undo, dispatch=dispatch))
        if url is not None:
            folder.announce(url)
        yield conductor


@contextlib.asynccontextmanager
async def _started(
    installation: Installation,
    folder: DataFolder,
    database: Database,
    undo: contextlib.AsyncExitStack,
    *,
    dispatch: bool,
) -> AsyncIterator[Conductor]:
    """Compose on an open folder and database, start the background tasks, and end them again."""
    clock = SystemClock()
    stored = SqlSettings(database)
    configuration = Configuration(installation, stored, await stored.all(), clock=clock, file_changes=file_changes)
    settings = configuration.settings
    committer = GroupCommitter(database, patience_s=settings.storage.patience_s)
    journal, live, metrics = SqlTasks(database, committer), LiveView(), Metrics()
    transitions = Transitions(journal=journal, clock=clock)
    roster = Roster(clock=clock, silence_s=settings.node.silence_s)
    performance = PerformanceBook()
    placement = PlacementTable(silence_s=settings.node.silence_s)
    watch = MachineWatch(
        LocalMachine(
            node_id=folder.node_id,
            clock=clock,
            probes=[*own_probes(), *installed_probes()],
            unify=merge_devices,
            data_folder=folder.paths.root,
        ),
        clock=clock,
        roster=roster,
        performance=performance,
        placement=placement,
        readings=SqlReadings(database, committer),
        interval_s=settings.node.reading_interval_s,
        kept_s=settings.node.readings_kept_s,
        slots=settings.executor.workers,
    )
    node = await watch.begin()
    encoder = OnnxEncoder()
    attached = await asyncio.to_thread(
        AttachmentFolder, folder.paths.attachments, total_bytes=settings.attachments.total_bytes
    )
    executor, processes = await asyncio.to_thread(_executor, folder, settings, encoder, clock, attached)
    attachments = Attachments(
        folder=attached,
        reader=ConfinedReader(processes, import_path=sys.path),
        clock=clock,
        settings=lambda: configuration.settings.attachments,
        open_tasks=transitions.unsettled,
    )
    pools = {node.node_id: Pools(node.node_id, _capacity(node, settings))}
    queue = FairQueue(_queue_rules(settings))
    dispatcher = Dispatcher(
        transitions=transitions,
        queue=queue,
        pools=pools,
        placement=placement,
        executor=executor,
        retry=_retry_policy(settings),
        clock=clock,
        uniform=random.random,
        emit=live.on_output,
        home=node.node_id,
    )
    file = await asyncio.to_thread(DiskLedgerFile.open, folder.paths.ledger)
    undo.callback(file.close)
    ledger = await asyncio.to_thread(_ledger, file, folder, settings, clock)
    if ledger.torn_tail is not None:
        log.warning("ledger_end_set_aside", **asdict(ledger.torn_tail))
    outbox = SqlOutbox(database, committer)
    keeper = LedgerKeeper(
        ledger,
        outbox=outbox,
        committer=committer,
        block_entries=settings.ledger.block_entries,
        block_interval_s=settings.ledger.block_interval_s,
    )
    await keeper.recover()
    models = ActiveModels(keeper)
    await models.add(
        encoder.name, await asyncio.to_thread(lambda: encoder.checksum), "reads descriptions and questions"
    )
    mind = await models.admit(language_model(settings, installation.around, clock))
    if isinstance(mind, WorkerMind):
        undo.callback(mind.close)
    maker = DecisionMaker(
        encoder, placement, ExperienceMemory(width=encoder.width, places=settings.mind.experiences), clock, mind
    )
    experiences = SqlExperiences(database, committer)
    remembered = list(await experiences.recall(settings.mind.experiences))
    maker.restore(remembered)
    for past in remembered:
        performance.observe(
            NodeId(past.node_id),
            Ending.SUCCEEDED if past.succeeded else Ending.EXIT_CODE,
            duration_s=past.duration_s,
            predicted_duration_s=past.predicted_duration_s,
        )
    corrections = SqlCorrections(database, committer)
    tuning = Tuning(
        maker=maker,
        encoder=encoder,
        versions=Versions(folder.paths.mind),
        corrections=corrections,
        experiences=experiences,
        keeper=keeper,
        clock=clock,
        read_guard=read_guard,
    )
    await tuning.restore()
    tasks = Tasks(
        clock=clock,
        random_bits=random.Random(os.urandom(32)).getrandbits,  # noqa: S311  # identifiers are no secrets
        maker=maker,
        executor=executor,
        transitions=transitions,
        dispatcher=dispatcher,
        archive=journal,
        committer=committer,
        live=live,
        experiences=experiences,
    )
    ends = FINAL | {TaskState.DECIDED}
    transitions.listen(keeper.on_transition, ends)
    transitions.listen(tasks.on_transition, ends)
    transitions.listen(live.on_transition)
    transitions.listen(metrics.on_transition)
    transitions.listen(partial(_observe_performance, performance), FINAL | {TaskState.QUEUED})
    _offer_gauges(metrics, dispatcher, committer, keeper)
    configuration.on_change(lambda changed: _apply(changed, queue, dispatcher))
    key = (
        AccessKey.load_or_create(
            folder.paths.access_key,
            clock=clock,
            user_id=installation.around.user_id,
            session_valid_s=settings.server.session_s,
        )
        if settings.server.require_key
        else None
    )
    access, ledger_desk = Access(key, executor.kinds), LedgerDesk(keeper, outbox)
    talk = Talk(
        clock=clock,
        tasks=tasks,
        snapshots=Snapshots(
            clock=clock,
            tasks=tasks,
            roster=roster,
            performance=performance,
            dispatcher=dispatcher,
            ledger=ledger_desk,
            models=models.now,
            problems=lambda: conductor.health()["problems"],
        ),
        reader=LinearIntentReader(encoder),
        check_workload=access.check_workload,
        limits=lambda: conductor.default_limits(),
    )
    conductor = Conductor(
        configuration=configuration,
        clock=clock,
        access=access,
        tasks=tasks,
        ledger=ledger_desk,
        models=models,
        metrics=metrics,
        dispatcher=dispatcher,
        committer=committer,
        registry=executor,
        roster=roster,
        performance=performance,
        placement=placement,
        tasks_folder=folder.paths.tasks,
        talk=talk,
        tuning=tuning,
        correcting=Correcting(tasks=tasks, store=corrections, keeper=keeper, committer=committer, clock=clock),
        mind_history=MindHistory(experiences, committer, clock, limit=settings.mind.experiences),
        attachments=attachments,
    )
    async with asyncio.TaskGroup() as group:
        committing = group.create_task(committer.run(), name="committer")
        sealing = group.create_task(keeper.run(), name="ledger keeper")
        recovered = await tasks.recover()
        dispatching = group.create_task(dispatcher.run() if dispatch else _nothing(), name="dispatcher")
        helpers = [
            group.create_task(watch.run(), name="machine watch"),
            group.create_task(configuration.watch(), name="settings watch"),
            group.create_task(tuning.run(), name="tuning"),
            group.create_task(attachments.run(), name="attachment sweep"),
            group.create_task(models.load(mind), name="language model"),
        ]
        gc.freeze()  # what lives as long as the product need not be looked at by every collection
        log.info("started", node=node.node_id, recovered_tasks=recovered, data_dir=str(folder.paths.root))
        try:
            yield conductor
        finally:
            await _drain(dispatcher, dispatching, configuration.settings.executor.drain_s)
            for helper in helpers:
                helper.cancel()
            keeper.close()
            await asyncio.wait([sealing], timeout=settings.storage.patience_s)  # the next start seals what is left
            committer.close()  # where the database fails for good, this is what ends the wait of all others
            await asyncio.wait([committing])
            processes.close()
            gc.unfreeze()
            log.info("stopped")


async def _nothing() -> None:
    """What the dispatcher does in an installation that is only looked at."""


async def _drain(dispatcher: Dispatcher, dispatching: "asyncio.Task[None]", drain_s: float) -> None:
    """Start nothing more, let what runs end for a while, then end it; the next start repeats what was cut off."""
    dispatcher.close()
    done, _ = await asyncio.wait([dispatching], timeout=drain_s)
    if not done:
        log.warning("drain_ended", still_running=dispatcher.running)
        dispatcher.abandon()
        await asyncio.wait([dispatching])


def _executor(
    folder: DataFolder, settings: Settings, encoder: OnnxEncoder, clock: Clock, attached: AttachmentFolder
) -> tuple[WorkloadRegistry, LocalProcesses]:
    groups = ControlGroups(Path("/sys/fs/cgroup"))
    processes = LocalProcesses(
        root=folder.paths.tasks,
        node_id=folder.node_id,
        clock=clock,
        groups=groups,
        environment=os.environ,
        grace_s=settings.executor.kill_grace_s,
        carve=partial(carve, facts=find_facts(groups), policy=ConfinementPolicy()),
    )
    staging = Staging(processes, attached.path)
    kinds: list[WorkloadKind] = [
        CommandKind(processes, staging),
        PythonKind(processes, staging),
        EmbedKind(encoder, node_id=folder.node_id, clock=clock),
        NoopKind(node_id=folder.node_id, clock=clock),
    ]
    return WorkloadRegistry.discover(kinds, processes=processes), processes


def _ledger(file: DiskLedgerFile, folder: DataFolder, settings: Settings, clock: Clock) -> Ledger:
    signer = SchnorrSigner.from_file(settings.ledger.key_file or folder.paths.ledger_key)
    return Ledger.open(file, signer, clock, check=schnorr_check)


def _capacity(node: Node, settings: Settings) -> PoolNeed:
    """What tasks may share: as many cores as there may be workers, nine tenths of the memory, a slot per worker."""
    return PoolNeed(
        millicores=1000 * settings.executor.workers,
        memory_bytes=node.memory_bytes * 9 // 10,
        network_slots=settings.executor.workers,
    )


def _queue_rules(settings: Settings) -> QueueRules:
    weights = settings.queue.weights
    return QueueRules(
        depth=settings.queue.depth,
        weights={
            Level.CRITICAL: weights.critical,
            Level.HIGH: weights.high,
            Level.MEDIUM: weights.medium,
            Level.LOW: weights.low,
        },
        aging_s=settings.queue.aging_s,
        aging_turn=settings.queue.aging_turn,
    )


def _retry_policy(settings: Settings) -> RetryPolicy:
    return RetryPolicy(**settings.retry.model_dump())


def _apply(settings: Settings, queue: FairQueue, dispatcher: Dispatcher) -> None:
    """Bring changed settings into effect where they are more than a value that is asked for each time."""
    configure_logging(settings)
    queue.rules = _queue_rules(settings)
    dispatcher.retry = _retry_policy(settings)


def _observe_performance(book: PerformanceBook, task: Task, event: TaskEvent) -> None:
    """Listener for `Transitions`: every attempt that ended tells something about its node, unless it took no time."""
    ended = event.state in FINAL or (event.state is TaskState.QUEUED and task.attempt > 0)
    if ended and task.outcome is not None and task.outcome.duration_s and task.decision is not None:
        book.observe(
            NodeId(task.outcome.node_id),
            task.outcome.ending,
            duration_s=task.outcome.duration_s,
            predicted_duration_s=task.decision.duration_s.value,
        )


def _offer_gauges(metrics: Metrics, dispatcher: Dispatcher, committer: GroupCommitter, keeper: LedgerKeeper) -> None:
    metrics.gauge("conductor_queue_depth", "Tasks that wait", lambda: dispatcher.waiting)
    metrics.gauge("conductor_tasks_running", "Attempts under way", lambda: dispatcher.running)
    metrics.gauge("conductor_store_commits", "Group commits since the start", lambda: committer.commits)
    metrics.gauge("conductor_ledger_entries", "Entries of the ledger", lambda: keeper.ledger.next_index)
    metrics.gauge("conductor_ledger_pending", "Entries not sealed yet", lambda: keeper.ledger.pending)
