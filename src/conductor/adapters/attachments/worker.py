"""The process in which strangers' files are decoded: `python -m conductor.adapters.attachments.worker FILE`.

Decoders are large C libraries with a history; here a mistake in one reaches nothing but a process without network that
is about to end. Answers one JSON object, the fields of `Reading`, on the descriptor named in `CONDUCTOR_RESULT_FD`.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from conductor.adapters.attachments.measuring import measure


def main() -> None:
    """Measure the file named on the command line."""
    answer_fd = int(os.environ.pop("CONDUCTOR_RESULT_FD"))
    reading = measure(Path(sys.argv[1]))
    with os.fdopen(answer_fd, "wb") as channel:
        channel.write(json.dumps(asdict(reading), allow_nan=False).encode())


if __name__ == "__main__":
    main()
