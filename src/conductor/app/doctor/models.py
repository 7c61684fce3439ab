"""The doctor: what models need and this installation lacks, with the exact command; installs only when it is told to.

Nothing is imported, loaded or fetched to find out, and no address is called. How the installation itself fares is
`doctor.installation`'s.
"""

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from conductor.adapters.installed import graphics_cards as graphics_cards
from conductor.adapters.installed import version_of
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.model_headers.folder import read_model
from conductor.adapters.pip_install import install, pip_command
from conductor.adapters.sensors.allowance import MemoryAllowance
from conductor.adapters.sensors.counters import counters_of
from conductor.adapters.sensors.tree import Tree
from conductor.app.doctor.check import Check, Verdict
from conductor.app.installation import Installation
from conductor.app.serving.model_table import known_categories, look, settings_page
from conductor.app.serving.programs import REMEDIES, install_line, installed_programs, unasked_programs, with_program
from conductor.domain.errors import ConductorError, ModelError, NotFound
from conductor.domain.model import Category, ModelName, Precision
from conductor.domain.server_program import split_program
from conductor.domain.units import format_bytes
from conductor.serving.lifetimes.memory_budget import memory_need
from conductor.serving.requirements import (
    EXTRAS,
    ExtraNeed,
    Place,
    needs_of,
    optional_needs,
    place_of,
    satisfies,
    unneeded,
)
from conductor.serving.settings_md.cells import Unreadable
from conductor.serving.settings_md.names import check_name

#: What a check is about that no model asked for.
EXTRAS_AT_ALL: Final = "extras"

VersionOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A model to look at; its category where the model table says one."""

    name: ModelName
    precision: Precision
    category: Category | None = None


def asked_models(installation: Installation, words: Sequence[str]) -> list[Asked]:
    """The models that words name, technically or by category; without words all of the model table.

    Raises:
        NotFound: a word is neither a category of the table nor a technical name; says what is.
    """
    rows = look(settings_page(installation), known_categories()).table.rows
    table = [Asked(name=row.name, precision=row.precision, category=row.category) for row in rows]
    found: list[Asked] = []
    for word in words:
        named = [row for row in table if word in (row.name, row.category)]
        found += named or [
            Asked(name=_technical(word, rows=[str(row.category) for row in rows]), precision=Precision.FP16)
        ]
    return found if words else table


def _technical(word: str, *, rows: Sequence[str]) -> ModelName:
    try:
        return check_name(word)
    except Unreadable as wrong:
        served = f"the model table has {', '.join(rows)}" if rows else "the model table is empty"
        raise NotFound(f"{wrong}; and it is no category that is served: {served}", field="model") from wrong


def check_models(
    models: Sequence[Asked],
    *,
    environ: Mapping[str, str],
    home: Path,
    free_memory_bytes: int,
    version: VersionOf = version_of,
    cards: int = 0,
) -> list[Check]:
    """What the models need, one line a thing; what several need stands under each.

    Args:
        cards: graphics cards of this machine.
    """
    checks: list[Check] = []
    unasked = unasked_programs(environ, own_llama_cpp=version("xllamacpp") is not None)
    for asked in (replace(model, name=with_program(model.name, unasked)) for model in models):
        checks += _program(asked, environ)
        for need in needs_of(asked.name, asked.category, asked.precision):
            checks += check_packages(asked.name, need, version, without=unneeded(asked.precision, cards))
        checks.append(_files(asked, environ=environ, home=home, free_memory_bytes=free_memory_bytes))
    return list(dict.fromkeys(checks))


def free_memory_bytes() -> int:
    """What could be taken now without swapping, of the machine or of the slice of it that we run in."""
    tree = Tree()
    return MemoryAllowance(tree).free_bytes(counters_of(tree).memory_bytes()[1])


def check_extras(*, version: VersionOf = version_of) -> list[Check]:
    """What could be installed besides, where no model says what is needed."""
    return [check for need in optional_needs() for check in check_packages(EXTRAS_AT_ALL, need, version)]


def extras_to_install(checks: Iterable[Check]) -> list[str]:
    """The extras without which something does not work; where a model is looked at, also those that its engine could use."""
    wanted = [check.extra for check in checks if check.extra and (check.fails or check.about != EXTRAS_AT_ALL)]
    return list(dict.fromkeys(wanted))


def install_command(extras: Iterable[str]) -> list[str]:
    """What `--install` runs. The parts are named rather than the extra: on an index, our name may be somebody else's."""
    return pip_command(_requirements(extras))


def install_extras(extras: Iterable[str], *, environ: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Run it; blocking.

    Raises:
        ConductorError: pip did not do it; says why.
    """
    install(_requirements(extras), environ=environ, tell=tell)


def _requirements(extras: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(package.requirement for extra in extras for package in EXTRAS[extra]))


def check_packages(
    about: str, need: ExtraNeed, version: VersionOf = version_of, *, without: Collection[str] = ()
) -> Iterator[Check]:
    """Whether the parts of an extra are there in the right versions; those `without` which it works may be absent."""
    for package in need.packages:
        found = version(package.name)
        if found is None and package.name in without:
            yield Check(about=about, need=package.name, found="", wanted=package.versions, verdict=Verdict.NOTE,
                        remedy="not needed for one device")  # fmt: skip
            continue
        good = found is not None and satisfies(found, package.versions)
        yield Check(
            about=about,
            need=package.name,
            found=found or "",
            wanted=package.versions.removeprefix("=="),
            verdict=Verdict.OK if good else _lacking(found, need),
            remedy="" if good else f"it {need.why}",
            command="" if good else shlex.join(install_command([need.extra])),
            extra="" if good else need.extra,
        )


def _lacking(found: str | None, need: ExtraNeed) -> Verdict:
    """What only adds something keeps nothing from working, absent or of another version."""
    if not need.essential:
        return Verdict.NOTE
    return Verdict.MISSING if found is None else Verdict.WRONG


def _program(asked: Asked, environ: Mapping[str, str]) -> Iterator[Check]:
    """Whether the server program is there that runs the model, where one does."""
    program, _ = split_program(asked.name)
    if program is None:
        return
    found = installed_programs(environ).get(program)
    yield Check(
        about=asked.name,
        need=program.value,
        found=str(found or ""),
        wanted="on the PATH",
        verdict=Verdict.MISSING if found is None else Verdict.OK,
        remedy=REMEDIES[program] if found is None else "",
        command=install_line(program, environ) if found is None else "",
    )


def _files(asked: Asked, *, environ: Mapping[str, str], home: Path, free_memory_bytes: int) -> Check:
    """Whether the model is here, whole and safe, and what it will take."""
    place, (_, model) = place_of(asked.name), split_program(asked.name)
    if place is Place.ENDPOINT:
        return Check(about=asked.name, need="endpoint", found="not called", wanted="", verdict=Verdict.OK)
    try:
        header = read_model(_path(ModelName(model), environ=environ, home=home))
    except NotFound as absent:
        hub = place in (Place.TRANSFORMERS, Place.VLLM) and not model.startswith((".", "/", "~"))
        fetch = f"hf download {shlex.quote(model)}" if hub else ""
        return Check(about=asked.name, need="model files", found="", wanted="on this machine", verdict=Verdict.MISSING,
                     remedy=absent.message, command=fetch)  # fmt: skip
    except ModelError as refused:
        return Check(about=asked.name, need="model files", found=str(refused.details.get("reason", "")),
                     wanted="whole and safe", verdict=Verdict.WRONG, remedy=refused.message)  # fmt: skip
    needed = memory_need(header, asked.precision, backend=place.value, most_context_tokens=4096).total_bytes
    fits = needed <= free_memory_bytes
    return Check(
        about=asked.name,
        need="memory",
        found=f"{format_bytes(free_memory_bytes)} free",
        wanted=f"about {format_bytes(needed)}",
        verdict=Verdict.OK if fits else Verdict.NOTE,
        remedy="" if fits else "a graphics card may hold it; else choose a lower precision or a smaller model",
    )


def _path(name: ModelName, *, environ: Mapping[str, str], home: Path) -> Path:
    if name.startswith("~/"):
        return home / name[2:]
    if name.startswith(("/", "./", "../")) or name.lower().endswith(".gguf"):
        return Path(name)
    try:
        return HubCache.of(environ, home).folder_of(name)
    except ConductorError as absent:
        raise NotFound(f"the model {name} is not on this machine; fetch it", field="model") from absent
