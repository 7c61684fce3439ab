"""Build what serves language models: the model table, backends, lifetimes, engines, the gateway, files and batches."""

import asyncio
import contextlib
import importlib.util
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from conductor.adapters.document_folder import DocumentFolder
from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.endpoints.address import is_address, parse_address
from conductor.adapters.endpoints.backend import EndpointBackend
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.relay import Relay, Target
from conductor.adapters.lingua_detector import LinguaDetector
from conductor.adapters.local_processes.environment import task_environment
from conductor.adapters.memory_meter import MachineMemory
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.model_headers.folder import read_model
from conductor.adapters.runners.backend import Limits as RunnerLimits
from conductor.adapters.runners.backend import LlamaCppBackend, TransformersBackend
from conductor.adapters.runners.process import EngineCommand
from conductor.adapters.watched_files import file_changes
from conductor.app.compose.foundation import Foundation
from conductor.app.compose.record import Record
from conductor.app.minds.chosen import OFFLINE
from conductor.app.serving.batches import Batches
from conductor.app.serving.calls import CallJournal, CallRecord
from conductor.app.serving.category_reading import NearestExamples
from conductor.app.serving.endpoint_keys import endpoint_keys
from conductor.app.serving.engine_shelf import EngineShelf, installed_engines
from conductor.app.serving.files import ServingFiles
from conductor.app.serving.gateway import Gateway, Place
from conductor.app.serving.model_table import LiveModelTable, settings_page
from conductor.app.serving.serve import Serving
from conductor.domain.model import Precision, ServedModel
from conductor.serving.accounting import Accounting
from conductor.serving.engine import ModelDesk
from conductor.serving.lifetimes import Lifetimes
from conductor.serving.limits import Allowance, Limits
from conductor.serving.memory_budget import Corrections, memory_need
from conductor.serving.ports import MemoryNeed
from conductor.serving.registry import Registry
from conductor.serving.residence import Keeping
from conductor.serving.sessions import Sessions
from conductor.serving.settings_md.compare import Changes
from conductor.serving.settings_md.table import ModelTable

#: Languages that are told apart where the detector is installed; each one more costs memory.
_LANGUAGES: Final = ("en", "de", "fr", "es", "pt", "it", "nl", "pl", "ru", "tr", "zh", "ja")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingParts:
    """What serves language models.

    Args:
        journal: is told of every call, and tells others in groups.
    """

    serving: Serving
    table: LiveModelTable
    lifetimes: Lifetimes
    gateway: Gateway
    files: ServingFiles
    batches: Batches
    journal: CallJournal
    loads_models: bool


async def set_up_serving(
    foundation: Foundation, record: Record, encoder: OnnxEncoder, undo: contextlib.AsyncExitStack
) -> ServingParts:
    """Read the model table and stand ready; nothing is loaded before `background` runs the lifetimes.

    A table that cannot be used is told by the log and by `conductor status`; the last one that could is in force.
    """
    settings, clock = foundation.settings.serving, foundation.clock
    points = installed_engines()
    preload = settings.load_models and settings.preload
    table = await LiveModelTable.open(
        settings_page(foundation.installation), known=points, clock=clock, file_changes=file_changes
    )
    client = EndpointClient(keys=endpoint_keys(settings.endpoint_keys).get)
    undo.push_async_callback(client.close)
    registry = Registry(clock=clock)
    meter = MachineMemory(on_cards={TransformersBackend.name})
    await asyncio.to_thread(meter.open)
    lifetimes = Lifetimes(
        backends=_backends(foundation, client),
        meter=meter,
        registry=registry,
        corrections=Corrections(),
        clock=clock,
        keeping=Keeping(idle_s=settings.idle_s),
    )
    shelf = _shelf(foundation, lifetimes, table.table.persona)
    gateway = Gateway(
        Relay(client),
        models=places(table.table.rows),
        limits=Limits(_allowance(foundation)),
        accounting=Accounting(),
        clock=clock,
    )

    def apply(now: ModelTable, _changes: Changes) -> None:
        shelf.take_persona(now.persona)
        gateway.use(places(now.rows))
        lifetimes.use_table(now.rows, preload=preload)

    lifetimes.use_table(table.table.rows, preload=preload)
    table.on_change(apply)
    journal = CallJournal([partial(_record_calls, record)])
    serving = Serving(
        desk=lifetimes,
        engines=shelf,
        table=table,
        registry=registry,
        reader=NearestExamples(encoder),
        clock=clock,
        new_id=_new_id,
        journal=journal,
        loads_models=settings.load_models,
    )
    root = foundation.folder.paths.root
    files = ServingFiles(DocumentFolder(root / "files"), clock=clock, new_id=_new_id)
    batches = Batches(DocumentFolder(root / "batches"), files, clock=clock, new_id=_new_id)
    await files.recover()
    await batches.recover()
    return ServingParts(
        serving=serving,
        table=table,
        lifetimes=lifetimes,
        gateway=gateway,
        files=files,
        batches=batches,
        journal=journal,
        loads_models=settings.load_models,
    )


async def _record_calls(record: Record, calls: Sequence[CallRecord]) -> None:
    """Every call becomes an entry of the ledger, once it has ended."""
    for call in calls:
        record.keeper.record("generation", call.decision.call_id, call.as_json())


def places(rows: Sequence[ServedModel]) -> Mapping[str, Sequence[Place]]:
    """The models that speak OpenAI's protocol elsewhere, by every name a client may use; one title may have several."""
    found: dict[str, list[Place]] = {}
    for row in rows:
        if not is_address(row.name):
            continue
        address = parse_address(row.name)
        if address.dialect != "openai" or not address.model:
            continue  # needs to be translated, or to be asked which model it has: the engines' way
        place = Place(target=Target(origin=address.origin, base=address.base, model=address.model))
        for name in dict.fromkeys((str(row.category), row.title, str(row.name))):
            found.setdefault(name, []).append(place)
    return found


def _backends(
    foundation: Foundation, client: EndpointClient
) -> tuple[EndpointBackend, LlamaCppBackend, TransformersBackend]:
    around = foundation.installation.around
    named = {"HF_HUB_CACHE": around.environ["HF_HUB_CACHE"]} if around.environ.get("HF_HUB_CACHE") else {}
    command = EngineCommand(
        # -P: what lies in the server's working directory must not be imported
        program=[sys.executable, "-P", "-m", "conductor.app.serving.engine_process"],
        environment=task_environment(around.environ, {"HOME": str(around.home), **OFFLINE, **named}),
    )
    hub = HubCache.of(around.environ, around.home)
    most_context = foundation.settings.serving.context_tokens
    limits = RunnerLimits(threads=max(1, around.logical_cores - 1), context_tokens=most_context)

    def need(backend: str, path: Path, precision: Precision) -> MemoryNeed:
        return memory_need(read_model(path), precision, backend=backend, most_context_tokens=most_context)

    clock = foundation.clock
    return (
        EndpointBackend(client),
        LlamaCppBackend(
            command=command, hub=hub, need_of=partial(need, LlamaCppBackend.name), limits=limits, clock=clock
        ),
        TransformersBackend(
            command=command,
            hub=hub,
            need_of=partial(need, TransformersBackend.name),
            limits=limits,
            clock=clock,
            accelerator=Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or sys.platform == "darwin",
            bitsandbytes=importlib.util.find_spec("bitsandbytes") is not None,
        ),
    )


def _shelf(foundation: Foundation, desk: ModelDesk, persona: str) -> EngineShelf:
    clock = foundation.clock
    return EngineShelf(
        installed_engines(),
        desk,
        persona=persona,
        offers={
            "clock": lambda: clock,
            "sessions": lambda: Sessions(clock=clock, new_id=_new_id),
            "detector": lambda: LinguaDetector(_LANGUAGES) if LinguaDetector.is_installed() else None,
        },
    )


def _allowance(foundation: Foundation) -> Allowance:
    settings = foundation.settings.serving
    return Allowance(
        requests_per_s=settings.requests_per_s,
        burst=max(1.0, settings.requests_per_s * 2),
        tokens_per_min=settings.tokens_per_min,
    )


def _new_id() -> str:
    return secrets.token_hex(12)
