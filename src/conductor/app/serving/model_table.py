"""The use cases about `SETTINGS.md`: what is in force, take over what was saved, go back to what was in force before.

A page that cannot be used changes nothing: the last valid one stays in force, over restarts too, and `problem` says why. A
page that is removed while the product runs stays in force until the next start, which then serves nothing.

Reading and comparing pages is `serving.settings_md`; loading and unloading is for whoever listens.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Self

import structlog

from conductor.adapters.settings_page import KeptPage, SettingsPage
from conductor.app.installation import Installation
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, NotFound, SettingsError, StorageError
from conductor.domain.model import ModelName, ModelState, Precision, ServedModel
from conductor.serving.settings_md.cells import write_size as write_size
from conductor.serving.settings_md.compare import Changes, compare
from conductor.serving.settings_md.compare import Copy as Copy
from conductor.serving.settings_md.example import EXAMPLE as EXAMPLE
from conductor.serving.settings_md.names import has_precision as has_precision
from conductor.serving.settings_md.parse import LARGEST_BYTES, Reading, decode, read
from conductor.serving.settings_md.problems import Problem
from conductor.serving.settings_md.table import ModelTable

Apply = Callable[[ModelTable, Changes], None]
FileChanges = Callable[[Sequence[Path]], AsyncIterator[None]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things stand with the page.

    Args:
        table: what is in force.
        digest: of it; decisions name it.
        content: the page's bytes that say it; None where none does.
        exists: whether there is a file.
        problem: why the file as it is now is not what is in force; None where it is.
        warnings: what is remarkable about it.
    """

    table: ModelTable
    digest: str
    content: bytes | None
    exists: bool
    problem: ConductorError | None = None
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """What a roll back did: the earlier page that is in place again, what changes, and where the replaced one is."""

    page: KeptPage
    changes: Changes
    replaced: Path | None


class LiveModelTable:
    """The model table of a running installation. `watch` must be running as a task of the owner."""

    def __init__(
        self, page: SettingsPage, standing: Standing, *, known: Collection[str], clock: Clock, file_changes: FileChanges
    ) -> None:
        self._page = page
        self._standing = standing
        self._known = known
        self._clock = clock
        self._file_changes = file_changes
        self._appliers: list[Apply] = []
        self._in_memory: Callable[[], Collection[Copy]] = tuple
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    async def open(cls, page: SettingsPage, *, known: Collection[str], clock: Clock, file_changes: FileChanges) -> Self:
        """Read the page for the first time; a page that cannot be used is no reason not to start.

        Args:
            known: the categories that have engines.
        """
        standing = await asyncio.to_thread(look, page, known)
        live = cls(page, standing, known=known, clock=clock, file_changes=file_changes)
        if standing.problem is None:
            await live._keep(standing)
        live._tell(standing)
        return live

    @property
    def table(self) -> ModelTable:
        """What is in force."""
        return self._standing.table

    @property
    def digest(self) -> str:
        """SHA-256 of what is in force, lowercase hex."""
        return self._standing.digest

    @property
    def standing(self) -> Standing:
        """All of it, with what is wrong with the file as it is now."""
        return self._standing

    def on_change(self, apply: Apply) -> None:
        """Call `apply` with the new table and what changed, whenever another one comes into force."""
        self._appliers.append(apply)

    def look_into_memory(self, in_memory: Callable[[], Collection[Copy]]) -> None:
        """Ask `in_memory` what is loaded, to tell what a change really unloads; until then nothing is."""
        self._in_memory = in_memory

    async def reload(self) -> Changes:
        """Take over the file as it is now, if it can be used; what changed by it."""
        async with self._one_at_a_time:
            before = self._standing
            found = await asyncio.to_thread(look, self._page, self._known)
            if not found.exists and before.content is not None:
                found = replace(found, problem=_gone(self._page.path))
            if found.problem is not None:
                self._standing = replace(before, exists=found.exists, problem=found.problem)
                if before.problem is None or before.problem.message != found.problem.message:
                    self._tell(self._standing)
                return compare(before.table, before.table)
            self._standing = found
            changes = compare(before.table, found.table)
            lines = changes.lines(self._in_memory()) if changes else []
            if changes:  # before anything is awaited: nobody may see a table that does not count yet
                for apply in self._appliers:
                    apply(found.table, changes)
            await self._keep(found)
        if changes or before.problem is not None:
            self._tell(found, lines)
        return changes

    async def roll_back(self, number: int | None = None) -> RolledBack:
        """Put an earlier page in place and take it over; see `roll_back`."""
        at_unix_s = self._clock.now_unix_s()
        done = await asyncio.to_thread(roll_back, self._page, number, at_unix_s=at_unix_s)
        await self.reload()
        return done

    async def watch(self) -> None:
        """Take over what is saved, until cancelled."""
        async for _ in self._file_changes([self._page.path]):
            await self.reload()

    async def _keep(self, standing: Standing) -> None:
        if standing.content is None:
            return
        at_unix_s = self._clock.now_unix_s()
        try:
            await asyncio.to_thread(self._page.keep, standing.content, standing.digest, at_unix_s=at_unix_s)
        except StorageError as failure:  # what was saved counts all the same, it only cannot be gone back to
            log.warning("settings_md_not_kept", reason=failure.message)

    def _tell(self, standing: Standing, changes: Sequence[str] = ()) -> None:
        path = str(self._page.path)
        if standing.problem is not None:
            log.error("settings_md_not_taken", file=path, reason=standing.problem.message, in_force=standing.digest)
        elif standing.exists:
            log.info("settings_md_in_force", file=path, digest=standing.digest, changes=[*changes])
        for warning in standing.warnings:
            log.warning("settings_md_remark", file=path, remark=warning.sentence)


def settings_page(installation: Installation) -> SettingsPage:
    """The page of an installation: where `serving.settings_md` says, or in the data folder."""
    path = installation.settings.serving.settings_md or installation.data_dir / "SETTINGS.md"
    return SettingsPage(path, installation.data_dir / "settings-md")


def known_categories() -> frozenset[str]:
    """The categories that have engines: the names in the entry point group `conductor.engines`; none is loaded."""
    return frozenset(point.name for point in entry_points(group="conductor.engines"))


def precision_text(row: ServedModel) -> str:
    """The precision for people; `–` where the table's does not count."""
    return row.precision.value if has_precision(row.name) else "–"


def copies_in_memory(models: Iterable[tuple[str, str, str]]) -> frozenset[Copy]:
    """The copies that are loaded, or being loaded, among models of which name, precision and state are known."""
    here = (ModelState.LOADED, ModelState.LOADING)
    return frozenset(Copy.named(ModelName(name), Precision(kept)) for name, kept, state in models if state in here)


def look(page: SettingsPage, known: Collection[str]) -> Standing:
    """How things stand by the files alone; blocking. Where the page cannot be used, the last one that could is in force."""
    content: bytes | None = None
    try:
        content = page.read(largest_bytes=LARGEST_BYTES)
        if content is None:
            return _standing(ModelTable(), content=None, exists=False)
        reading = read(decode(content), known=known)
    except (SettingsError, StorageError) as problem:
        last = last_in_force(page)
        return replace(_standing(last, content=content, exists=True), problem=problem)
    return replace(_standing(reading.table, content=content, exists=True), warnings=reading.warnings)


def check(page: SettingsPage, content: bytes, known: Collection[str], *, is_in_place: bool) -> tuple[Reading, Changes]:
    """What a page says, and what would change by it; blocking.

    Args:
        is_in_place: it is the installation's own, so it is compared with what was in force before.

    Raises:
        SettingsError: it cannot be used; says everything that is wrong.
    """
    reading = read(decode(content), known=known)
    before = last_in_force(page) if is_in_place else look(page, known).table
    return reading, compare(before, reading.table)


def last_in_force(page: SettingsPage) -> ModelTable:
    """The last table that a server took over; an empty one where there was none. Blocking."""
    try:
        kept = page.kept()
    except StorageError:  # a folder that cannot be read remembers nothing
        return ModelTable()
    for each in reversed(kept):
        try:
            return read(decode(page.read_kept(each.number))).table
        except (SettingsError, StorageError, NotFound):  # damaged, or written for another version: the one before, then
            continue
    return ModelTable()


def roll_back(page: SettingsPage, number: int | None = None, *, at_unix_s: float) -> RolledBack:
    """Put an earlier page in place of the present one; a running server takes it over as any other save. Blocking.

    Args:
        number: which; by default the last one in force where the present page cannot be used, else the last other one.

    Raises:
        NotFound: there is none, or none of that number.
        SettingsError: the earlier page can no longer be used.
        StorageError: it cannot be put in place; the present one is still there.
    """
    now = look(page, ())
    is_good = now.exists and now.problem is None
    chosen = _chosen(page.kept(), number, now.digest if is_good else "")
    wanted = page.read_kept(chosen.number)
    table = read(decode(wanted)).table
    is_kept = is_good and any(
        now.content == page.read_kept(each.number) for each in page.kept() if each.digest == now.digest
    )
    replaced = page.set_aside(at_unix_s=at_unix_s) if now.exists and not is_kept else None
    page.replace(wanted)
    return RolledBack(page=chosen, changes=compare(now.table, table), replaced=replaced)


def _chosen(kept: Sequence[KeptPage], number: int | None, digest_now: str) -> KeptPage:
    for page in reversed(kept):
        if page.number == number or (number is None and page.digest != digest_now):
            return page
    which = "no earlier SETTINGS.md to go back to" if number is None else f"no earlier SETTINGS.md {number}"
    raise NotFound(f"there is {which}; `conductor settings history` lists them", field="number")


def _standing(table: ModelTable, *, content: bytes | None, exists: bool) -> Standing:
    return Standing(table=table, digest=table.digest, content=content, exists=exists)


def _gone(path: Path) -> NotFound:
    return NotFound(
        f"{path} is gone; what it said stays in force until the next start; `conductor settings rollback` brings it back"
    )
