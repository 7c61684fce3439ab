"""The process in which strangers' files are decoded: `python -m conductor.adapters.attachments.worker FILE [MEDIA_TYPE]`.

Decoders are large C libraries with a history; here a mistake in one reaches nothing but a process without network that
is about to end. Answers one JSON object, the fields of `Reading`, on the descriptor named in `CONDUCTOR_RESULT_FD`; with
the media type of a picture, a small copy of it instead.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from conductor.adapters.attachments.measuring import measure


def main() -> None:
    """Measure or copy the file named on the command line."""
    answer_fd = int(os.environ.pop("CONDUCTOR_RESULT_FD"))
    path, *wanted = sys.argv[1:]
    answer = _copied(Path(path), wanted[0]) if wanted else _measured(Path(path))
    with os.fdopen(answer_fd, "wb") as channel:
        channel.write(answer)


def _measured(path: Path) -> bytes:
    return json.dumps(asdict(measure(path)), allow_nan=False).encode()


def _copied(path: Path, media_type: str) -> bytes:
    from conductor.adapters.attachments.picture import small_copy

    return small_copy(path, media_type)


if __name__ == "__main__":
    main()
