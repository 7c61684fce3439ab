"""Say what another model table would change: which categories, and what will load and unload.

Two categories with the same model in the same precision share one copy of it, so they are counted as one here. Models of
endpoints are never loaded by us.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.serving.settings_md.cells import write_size
from conductor.serving.settings_md.names import has_precision
from conductor.serving.settings_md.table import ModelTable


@dataclass(frozen=True, slots=True, order=True)
class Copy:
    """A model as it lies in memory; `precision` is None where the table's does not count."""

    name: ModelName
    precision: Precision | None

    @classmethod
    def of(cls, row: ServedModel) -> "Copy":
        """The copy that serves a row."""
        return cls.named(row.name, row.precision)

    @classmethod
    def named(cls, name: ModelName, precision: Precision) -> "Copy":
        """The copy of a model in the precision that the table asks for."""
        return cls(name, precision if has_precision(name) else None)

    @property
    def is_here(self) -> bool:
        """Whether it takes memory of this machine; an endpoint's does not."""
        return "://" not in self.name

    def __str__(self) -> str:
        return self.name if self.precision is None else f"{self.name} ({self.precision})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs between two tables.

    Args:
        added, removed: categories that are served from now on, or no more.
        changed: rows that differ, before and after.
        load: copies on this machine that are loaded at once, because they are to stay loaded now.
        on_demand: new ones that are loaded when they are first asked for.
        unload: those that nothing needs any more.
        released: those that need not stay loaded any more.
        persona: whether it differs.
        sizes: what the new table says that copies take, bytes; without those that it says nothing of.
    """

    added: tuple[ServedModel, ...]
    removed: tuple[ServedModel, ...]
    changed: tuple[tuple[ServedModel, ServedModel], ...]
    load: tuple[Copy, ...]
    on_demand: tuple[Copy, ...]
    unload: tuple[Copy, ...]
    released: tuple[Copy, ...]
    persona: bool
    sizes: dict[Copy, int]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.persona)

    @property
    def changed_precision(self) -> tuple[Category, ...]:
        """Categories that keep their model and have it in another precision."""
        return tuple(
            now.category
            for before, now in self.changed
            if before.name == now.name and before.precision is not now.precision and has_precision(now.name)
        )

    def lines(self, in_memory: Collection[Copy] | None = None) -> list[str]:
        """For people, one change a line, beginning with `+`, `-` or `~`, then what loads and unloads.

        Args:
            in_memory: what is loaded now: nothing else can be unloaded, and it need not be loaded again. None where nobody
                knows; whatever the old table has may be loaded then.
        """
        return [*self._differences(), *self._consequences(in_memory)]

    def _differences(self) -> Iterator[str]:
        if self.persona:
            yield "~ persona"
        for row in self.removed:
            yield f"- {row.category}: {Copy.of(row)}"
        for row in self.added:
            yield f"+ {row.category}: {Copy.of(row)}{', stays loaded' if row.stay_loaded else ''}"
        for before, now in self.changed:
            yield f"~ {now.category}: {'; '.join(_differing(before, now))}"

    def _consequences(self, in_memory: Collection[Copy] | None) -> Iterator[str]:
        for copy in self.unload:
            if in_memory is None or copy in in_memory:
                yield f"unload {copy}"
        for copy in self.load:
            if in_memory is not None and copy in in_memory:
                continue
            size = f", about {write_size(self.sizes[copy])}" if copy in self.sizes else ""
            yield f"load {copy}{size}"
        for copy in self.on_demand:
            yield f"load when asked for: {copy}"
        for copy in self.released:
            yield f"need not stay loaded: {copy}"


def compare(old: ModelTable, new: ModelTable) -> Changes:
    """What changes when `new` takes the place of `old`; in the order of the tables."""
    before, now = old.served(), new.served()
    had, has = _copies(old), _copies(new)
    stayed, stay = _staying(old), _staying(new)
    return Changes(
        added=tuple(row for row in new.rows if row.category not in before),
        removed=tuple(row for row in old.rows if row.category not in now),
        changed=tuple(
            (before[row.category], row) for row in new.rows if row.category in before and before[row.category] != row
        ),
        load=tuple(copy for copy in stay if copy not in stayed),
        on_demand=tuple(copy for copy in has if copy not in had and copy not in stay),
        unload=tuple(copy for copy in had if copy not in has),
        released=tuple(copy for copy in stayed if copy in has and copy not in stay),
        persona=old.persona != new.persona,
        sizes={Copy.of(row): row.memory_bytes for row in new.rows if row.memory_bytes is not None},
    )


def _copies(table: ModelTable) -> dict[Copy, None]:
    return dict.fromkeys(copy for row in table.rows if (copy := Copy.of(row)).is_here)


def _staying(table: ModelTable) -> dict[Copy, None]:
    return dict.fromkeys(copy for row in table.rows if row.stay_loaded and (copy := Copy.of(row)).is_here)


def _differing(before: ServedModel, now: ServedModel) -> Iterator[str]:
    if before.name != now.name:
        yield f"{before.name} → {now.name}"
    if before.precision is not now.precision:
        yield f"{before.precision} → {now.precision}"
    if before.stay_loaded != now.stay_loaded:
        yield "stays loaded" if now.stay_loaded else "on demand"
    if before.memory_bytes != now.memory_bytes:
        yield f"memory {write_size(before.memory_bytes)} → {write_size(now.memory_bytes)}"
    if before.title != now.title:
        yield f"title {before.title!r} → {now.title!r}"
