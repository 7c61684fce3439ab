"""Set up what executes tasks: workload kinds, confined processes, attached files, pools, queue and dispatcher."""

import asyncio
import contextlib
import os
import random
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conductor.adapters.attachments.confined import ConfinedReader
from conductor.adapters.attachments.describing import Describer
from conductor.adapters.attachments.folder import AttachmentFolder
from conductor.adapters.attachments.staging import Staging
from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.local_processes.control_groups import ControlGroups
from conductor.adapters.local_processes.facts import find_facts
from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.adapters.sql.tasks import SqlTasks
from conductor.adapters.workloads.command import CommandKind
from conductor.adapters.workloads.embed import EmbedKind
from conductor.adapters.workloads.noop import NoopKind
from conductor.adapters.workloads.python_callable import PythonKind
from conductor.adapters.workloads.registry import WorkloadRegistry
from conductor.app.attachments import Attachments
from conductor.app.compose.fleet import Fleet
from conductor.app.compose.foundation import Foundation
from conductor.app.live import LiveView
from conductor.app.serving.endpoint_keys import endpoint_keys
from conductor.app.settings.model import Settings
from conductor.domain.node import Node
from conductor.domain.task import Level
from conductor.fleet.confinement import ConfinementPolicy, carve
from conductor.scheduling.dispatch import Dispatcher
from conductor.scheduling.pools import PoolNeed, Pools
from conductor.scheduling.ports import WorkloadKind
from conductor.scheduling.queue import FairQueue, QueueRules
from conductor.scheduling.retry import RetryPolicy
from conductor.scheduling.transitions import Transitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What takes a decided task to its end, and the files it may need.

    Args:
        journal: where tasks and their transitions are stored, through `transitions`.
        live: shows what happens to a task right now.
        registry: the workload kinds, found and broken.
    """

    journal: SqlTasks
    transitions: Transitions
    live: LiveView
    registry: WorkloadRegistry
    processes: LocalProcesses
    attachments: Attachments
    queue: FairQueue
    dispatcher: Dispatcher


async def set_up_execution(
    foundation: Foundation, fleet: Fleet, encoder: OnnxEncoder, undo: contextlib.AsyncExitStack
) -> Execution:
    """Build the executor on this machine; nothing runs yet. `undo` closes connections."""
    journal, live = SqlTasks(foundation.database, foundation.committer), LiveView()
    transitions = Transitions(journal=journal, clock=foundation.clock)
    attached = await asyncio.to_thread(
        AttachmentFolder,
        foundation.folder.paths.attachments,
        total_bytes=foundation.settings.attachments.total_bytes,
    )
    processes = await asyncio.to_thread(_processes, foundation)
    registry = await asyncio.to_thread(_registry, foundation, processes, encoder, attached)
    queue = FairQueue(queue_rules(foundation.settings))
    reader = ConfinedReader(processes, import_path=sys.path)
    client = EndpointClient(keys=endpoint_keys(foundation.settings.serving.endpoint_keys).get)
    undo.push_async_callback(client.close)
    return Execution(
        journal=journal,
        transitions=transitions,
        live=live,
        registry=registry,
        processes=processes,
        attachments=Attachments(
            folder=attached,
            reader=reader,
            describer=Describer(
                client,
                model=lambda: foundation.configuration.settings.attachments.vision_model,
                copy=reader.small_copy,
                clock=foundation.clock,
            ),
            clock=foundation.clock,
            settings=lambda: foundation.configuration.settings.attachments,
            open_tasks=transitions.unsettled,
        ),
        queue=queue,
        dispatcher=_dispatcher(foundation, fleet, transitions=transitions, queue=queue, executor=registry, live=live),
    )


def queue_rules(settings: Settings) -> QueueRules:
    """How the queue orders what waits."""
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


def retry_policy(settings: Settings) -> RetryPolicy:
    """Which attempts are repeated, and when."""
    return RetryPolicy(**settings.retry.model_dump())


def _processes(foundation: Foundation) -> LocalProcesses:
    groups = ControlGroups(Path("/sys/fs/cgroup"))
    return LocalProcesses(
        root=foundation.folder.paths.tasks,
        node_id=foundation.folder.node_id,
        clock=foundation.clock,
        groups=groups,
        environment=os.environ,
        grace_s=foundation.settings.executor.kill_grace_s,
        carve=partial(carve, facts=find_facts(groups), policy=ConfinementPolicy()),
    )


def _registry(
    foundation: Foundation, processes: LocalProcesses, encoder: OnnxEncoder, attached: AttachmentFolder
) -> WorkloadRegistry:
    node_id, clock, staging = foundation.folder.node_id, foundation.clock, Staging(processes, attached.path)
    kinds: list[WorkloadKind] = [
        CommandKind(processes, staging),
        PythonKind(processes, staging),
        EmbedKind(encoder, node_id=node_id, clock=clock),
        NoopKind(node_id=node_id, clock=clock),
    ]
    return WorkloadRegistry.discover(kinds, processes=processes)


def _dispatcher(
    foundation: Foundation,
    fleet: Fleet,
    *,
    transitions: Transitions,
    queue: FairQueue,
    executor: WorkloadRegistry,
    live: LiveView,
) -> Dispatcher:
    home = fleet.home
    return Dispatcher(
        transitions=transitions,
        queue=queue,
        pools={home.node_id: Pools(home.node_id, _capacity(home, foundation.settings))},
        placement=fleet.placement,
        executor=executor,
        retry=retry_policy(foundation.settings),
        clock=foundation.clock,
        uniform=random.random,
        emit=live.on_output,
        home=home.node_id,
    )


def _capacity(node: Node, settings: Settings) -> PoolNeed:
    """What tasks may share: as many cores as there may be workers, nine tenths of the memory, a slot per worker."""
    return PoolNeed(
        millicores=1000 * settings.executor.workers,
        memory_bytes=node.memory_bytes * 9 // 10,
        network_slots=settings.executor.workers,
    )
