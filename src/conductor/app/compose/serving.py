"""Build what serves language models: the model table, backends, lifetimes, engines, the gateway, files and batches."""

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from conductor import __version__
from conductor.adapters.cache_folder import CacheFolder
from conductor.adapters.document_folder import DocumentFolder
from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.endpoints.address import is_address, parse_address
from conductor.adapters.endpoints.backend import EndpointBackend
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.relay import Relay, Target
from conductor.adapters.lingua_detector import LinguaDetector
from conductor.adapters.local_processes.environment import task_environment
from conductor.adapters.memory_meter import MachineMemory, cards_of_torch
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.model_files import files_of, weights_of
from conductor.adapters.model_headers.folder import read_model
from conductor.adapters.reading_ahead import PageCache, SpareMemory
from conductor.adapters.runners.backend import Limits as RunnerLimits
from conductor.adapters.runners.backend import LlamaCppBackend, TransformersBackend
from conductor.adapters.runners.process import EngineCommand
from conductor.adapters.sensors.tree import Tree
from conductor.adapters.watched_files import file_changes
from conductor.app.compose.foundation import Foundation
from conductor.app.compose.record import Record
from conductor.app.compose.server_programs import ON_CARDS, cards_here, program_backends
from conductor.app.minds.chosen import OFFLINE
from conductor.app.serving.batches import Batches
from conductor.app.serving.beginnings import beginning
from conductor.app.serving.call_entries import CallEntries
from conductor.app.serving.calls import CallJournal
from conductor.app.serving.category_reading import NearestExamples
from conductor.app.serving.endpoint_keys import endpoint_keys
from conductor.app.serving.engine_shelf import EngineShelf, installed_engines
from conductor.app.serving.files import ServingFiles
from conductor.app.serving.gateway import Gateway, Place
from conductor.app.serving.kept_answers import KeptAnswers
from conductor.app.serving.kept_corrections import KeptCorrections
from conductor.app.serving.model_table import LiveModelTable, copies_in_memory, settings_page
from conductor.app.serving.models import log_change
from conductor.app.serving.relayed import RelayedCalls, Row
from conductor.app.serving.serve import Serving
from conductor.app.serving.statistics import ServingStatistics
from conductor.domain.model import Precision, ServedModel
from conductor.serving.answer_cache import AnswerCache
from conductor.serving.engine import ModelDesk
from conductor.serving.lifetimes.ahead import Means
from conductor.serving.lifetimes.keep import Lifetimes
from conductor.serving.lifetimes.memory_budget import memory_need
from conductor.serving.lifetimes.residence import Keeping
from conductor.serving.ports import Backend, MemoryNeed
from conductor.serving.registry import Registry
from conductor.serving.sessions import Sessions
from conductor.serving.settings_md.compare import Changes
from conductor.serving.settings_md.table import ModelTable
from conductor.serving.traffic.accounting import Accounting
from conductor.serving.traffic.limits import Allowance, Limits

#: Languages that are told apart where the detector is installed; each one more costs memory.
_LANGUAGES: Final = ("en", "de", "fr", "es", "pt", "it", "nl", "pl", "ru", "tr", "zh", "ja")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingParts:
    """What serves language models.

    Args:
        journal: is told of every call, and tells others in groups.
        entries: makes ledger entries of them.
        relayed: tells of those that the gateway passes on.
        learned: what loading models really took.
        cache: answers that are given again without asking a model; None where none are kept.
    """

    serving: Serving
    table: LiveModelTable
    lifetimes: Lifetimes
    gateway: Gateway
    files: ServingFiles
    batches: Batches
    journal: CallJournal
    entries: CallEntries
    relayed: RelayedCalls
    learned: KeptCorrections
    cache: AnswerCache | None
    loads_models: bool


async def set_up_serving(
    foundation: Foundation, record: Record, encoder: OnnxEncoder, undo: contextlib.AsyncExitStack, *, loads: bool
) -> ServingParts:
    """Read the model table and stand ready; nothing is loaded before `background` runs the lifetimes.

    A table that cannot be used is told by the log and by `conductor status`; the last one that could is in force.

    Args:
        loads: False where the lifetimes will not run: whatever needs a model is refused then, and not waited for.
    """
    settings, clock = foundation.settings.serving, foundation.clock
    points = installed_engines()
    loads = loads and settings.load_models
    preload = loads and settings.preload
    table = await LiveModelTable.open(
        settings_page(foundation.installation), known=points, clock=clock, file_changes=file_changes
    )
    client = EndpointClient(keys=endpoint_keys(settings.endpoint_keys).get, silence_s=settings.endpoint_silence_s)
    undo.push_async_callback(client.close)
    registry = Registry(clock=clock)
    meter = MachineMemory(
        on_cards=ON_CARDS | ({TransformersBackend.name} if _cards() else set()),
        cards=_cards() or cards_here(),
        visible=foundation.installation.around.environ.get("CUDA_VISIBLE_DEVICES"),
    )
    await asyncio.to_thread(meter.open)
    learned = await asyncio.to_thread(KeptCorrections, DocumentFolder(foundation.folder.paths.root / "learned"))
    registry.listen(learned.on_change)
    registry.listen(log_change)
    table.look_into_memory(
        lambda: copies_in_memory((each.key.name, each.key.precision, each.state) for each in registry.records())
    )
    lifetimes = Lifetimes(
        backends=_backends(foundation, client),
        meter=meter,
        registry=registry,
        corrections=learned.corrections,
        clock=clock,
        keeping=Keeping(idle_s=settings.idle_s),
        means=_means(foundation),
    )
    shelf = _shelf(foundation, lifetimes, table.table.persona)
    begins = partial(beginning, shelf)
    lifetimes.ahead.begin_with(begins)
    entries, statistics = CallEntries(record.keeper.record), ServingStatistics()
    statistics.ahead = lifetimes.ahead.as_json
    journal = CallJournal([entries.on_calls])
    relayed = RelayedCalls(clock=clock, statistics=statistics, journal=journal)
    relayed.listen(entries.on_group)
    relayed.table_digest = table.digest
    gateway = Gateway(
        Relay(client),
        models=places(table.table.rows),
        limits=Limits(_allowance(foundation)),
        accounting=Accounting(),
        clock=clock,
        calls=relayed,
    )

    cache = _answer_cache(foundation)
    kept = KeptAnswers(
        cache,
        clock=clock,
        files_of=partial(files_of, hub=_hub(foundation)),
        made_by=__version__,
    )

    kept.on_forget(shelf.forget)

    def apply(now: ModelTable, changes: Changes) -> None:
        for name in {row.name for row in (*changes.removed, *(row for pair in changes.changed for row in pair))}:
            kept.forget(name)
        shelf.take_persona(now.persona)
        gateway.use(places(now.rows))
        relayed.table_digest = table.digest
        lifetimes.use_table(now.rows, preload=preload)
        lifetimes.ahead.begin_with(begins)  # the persona may be another one

    lifetimes.use_table(table.table.rows, preload=preload)
    table.on_change(apply)
    serving = Serving(
        desk=lifetimes,
        engines=shelf,
        table=table,
        registry=registry,
        reader=NearestExamples(encoder),
        clock=clock,
        new_id=_new_id,
        journal=journal,
        statistics=statistics,
        loads_models=loads,
        kept=kept,
    )
    root = foundation.folder.paths.root
    files = ServingFiles(DocumentFolder(root / "files"), clock=clock, new_id=_new_id)
    batches = Batches(DocumentFolder(root / "batches"), files, clock=clock, new_id=_new_id)
    await files.recover()
    await batches.recover()
    await files.drop_strays(but=await batches.writes_to())
    return ServingParts(
        serving=serving,
        table=table,
        lifetimes=lifetimes,
        gateway=gateway,
        files=files,
        batches=batches,
        journal=journal,
        entries=entries,
        relayed=relayed,
        learned=learned,
        cache=cache,
        loads_models=loads,
    )


def places(rows: Sequence[ServedModel]) -> Mapping[str, Sequence[Place]]:
    """The models that speak OpenAI's protocol elsewhere, by every name a client may use; one title may have several."""
    found: dict[str, list[Place]] = {}
    for row in rows:
        if not is_address(row.name):
            continue
        address = parse_address(row.name)
        if address.dialect != "openai" or not address.model:
            continue  # needs to be translated, or to be asked which model it has: the engines' way
        target = Target(origin=address.origin, base=address.base, model=address.model)
        place = Place(target=target, row=Row(category=row.category, model=row.name))
        for name in dict.fromkeys((str(row.category), row.title, str(row.name))):
            found.setdefault(name, []).append(place)
    return found


def _backends(foundation: Foundation, client: EndpointClient) -> tuple[Backend, ...]:
    around = foundation.installation.around
    named = {"HF_HUB_CACHE": around.environ["HF_HUB_CACHE"]} if around.environ.get("HF_HUB_CACHE") else {}
    command = EngineCommand(
        # -P: what lies in the server's working directory must not be imported
        program=[sys.executable, "-P", "-m", "conductor.app.serving.engine_process"],
        environment=task_environment(around.environ, {"HOME": str(around.home), **OFFLINE, **named}),
    )
    hub = _hub(foundation)
    most_context = foundation.settings.serving.context_tokens
    limits = RunnerLimits(threads=max(1, around.logical_cores - 1), context_tokens=most_context)

    def need(backend: str, path: Path, precision: Precision) -> MemoryNeed:
        return memory_need(read_model(path), precision, backend=backend, most_context_tokens=most_context)

    clock = foundation.clock
    return (
        EndpointBackend(client),
        *program_backends(foundation, command.environment, hub=hub, limits=limits),
        LlamaCppBackend(
            command=command, hub=hub, need_of=partial(need, LlamaCppBackend.name), limits=limits, clock=clock
        ),
        TransformersBackend(
            command=command,
            hub=hub,
            need_of=partial(need, TransformersBackend.name),
            limits=limits,
            clock=clock,
            accelerator=bool(_cards())
            and (Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or sys.platform == "darwin"),
            bitsandbytes=sys.platform != "darwin"
            and all(importlib.util.find_spec(each) for each in ("bitsandbytes", "accelerate")),
        ),
    )


def _means(foundation: Foundation) -> Means:
    wanted = foundation.settings.serving.fetch_ahead
    if wanted == "nothing":
        return Means()
    spare = SpareMemory(Tree(Path("/")))
    return Means(
        files=PageCache(partial(weights_of, hub=_hub(foundation)), spare.free_bytes),
        beginnings=True,
        leisure=spare if wanted == "models" else None,
    )


def _answer_cache(foundation: Foundation) -> AnswerCache | None:
    settings = foundation.settings.serving
    if not settings.cache_memory_mb:
        return None
    folder = foundation.folder.paths.root / "answers"
    return AnswerCache(
        clock=foundation.clock,
        most_bytes=settings.cache_memory_mb * 1_000_000,
        most_age_s=settings.cache_s,
        slower=CacheFolder(folder, most_bytes=settings.cache_disk_mb * 1_000_000) if settings.cache_disk_mb else None,
    )


def _hub(foundation: Foundation) -> HubCache:
    around = foundation.installation.around
    return HubCache.of(around.environ, around.home)


def _cards() -> str:
    """Whose cards the torch that is installed computes on."""
    try:
        return cards_of_torch(importlib.metadata.version("torch"))
    except importlib.metadata.PackageNotFoundError:
        return cards_of_torch(None)


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
