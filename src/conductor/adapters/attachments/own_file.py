"""Read a file of the caller's own, in his own process, without storing it: for decisions that record nothing."""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

from conductor.adapters.attachments.folder import too_large
from conductor.adapters.attachments.measuring import measure
from conductor.adapters.attachments.reading import Reading
from conductor.domain.attachment import Attachment, check_file_name
from conductor.domain.errors import InvalidInput


def own_file(
    path: Path, *, most_bytes: int, described: Callable[[Path, Reading], Reading] = lambda _path, reading: reading
) -> Attachment:
    """The attachment that this file would be; blocking. `described` adds what a model says about it.

    Raises:
        InvalidInput: there is no such file, it is empty or too large, or it cannot be read.
    """
    try:
        if not path.is_file():
            raise InvalidInput(f"there is no file {path}", field="attachments")
        size_bytes = path.stat().st_size
        if not size_bytes:
            raise InvalidInput(f"the file {path} is empty; attach one that holds something", field="attachments")
        if size_bytes > most_bytes:
            raise too_large(size_bytes, most_bytes)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        reading = described(path, measure(path))
    except OSError as failure:
        raise InvalidInput(f"{path} cannot be read: {failure.strerror or failure}", field="attachments") from failure
    return reading.attachment(
        attachment_id=digest, name=check_file_name(path.name), size_bytes=size_bytes, claimed=None
    )


async def own_copy(path: Path, media_type: str) -> bytes | None:
    """A picture as a small JPEG without what the camera noted; None where it cannot be made."""
    return await asyncio.to_thread(_copied, path, media_type)


def _copied(path: Path, media_type: str) -> bytes | None:
    with contextlib.suppress(Exception):  # decoders fail with any exception there is; `measure` told which
        from conductor.adapters.attachments.picture import small_copy

        return small_copy(path, media_type)
    return None
