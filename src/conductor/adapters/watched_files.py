"""Tell when one of a few files appears, changes or goes, whatever way an editor or a deployment replaces it.

The system's notifications wake us early; what decides is a comparison of the files' facts, made at least once per
interval. So files behind links, on network file systems, and in folders that do not exist yet are covered as well.
Not covered: a file replaced twice within an interval by contents of the same size and time (it is told once).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_Facts = tuple[int, int, int] | None


async def file_changes(paths: Sequence[Path], *, interval_s: float = 2.0) -> AsyncIterator[None]:
    """Yield when watching has begun, and then each time that a file is no longer what it was; ends by cancellation.

    Whoever reads the files at every yield, the first included, has missed nothing.
    """
    known = [_facts(path) for path in paths]
    yield
    async for _ in _wakings(paths, interval_s):
        found = [_facts(path) for path in paths]
        if found != known:
            known = found
            yield


def _facts(path: Path) -> _Facts:
    try:
        facts = path.stat()
    except OSError:  # absent, or not ours to see: the same to us
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


async def _wakings(paths: Sequence[Path], interval_s: float) -> AsyncIterator[None]:
    """Now and then, and soon after something happened in a folder of one of the files."""
    from watchfiles import awatch  # 100 ms to import, and needed only in a server

    names = {path.name for path in paths}
    folders = {path.parent for path in paths if path.parent.is_dir()}
    if folders:
        try:
            async for _ in awatch(
                *folders,
                watch_filter=lambda _, changed: Path(changed).name in names,
                recursive=False,
                debounce=200,
                rust_timeout=round(interval_s * 1000),
                yield_on_timeout=True,
            ):
                yield
        except OSError as refused:  # the system's limit on watches is used up
            log.info("files_are_polled", reason=str(refused))
    while True:
        await asyncio.sleep(interval_s)
        yield
