"""The process that computes a foreign language model: `python -m conductor.app.minds.worker --model …`.

Started by `adapters.minds.worker`, whose lines (`adapters.minds.wire`) it answers one after the other. It loads the
model, says that it is ready or why not, and ends when its standard input closes, even in the middle of a computation.
"""

import argparse
import os
import queue
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import psutil

from conductor.adapters.mind_llama.spoken import SpokenMind, spoken_form
from conductor.adapters.minds import wire
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.sensors.allowance import MemoryAllowance
from conductor.adapters.sensors.tree import Tree
from conductor.decisions.constrained import FormReader
from conductor.decisions.ports import TokenModel
from conductor.domain.errors import ConductorError

#: Ours, and how torch tells of too little memory, among other things.
_FAILURES: Final = (ConductorError, RuntimeError, MemoryError)


def load(model: str, *, threads: int, environment: Mapping[str, str], home: Path) -> TokenModel:
    """Load a `.gguf` file, a folder, or a model of the Hugging Face cache.

    Raises:
        ModelError: it cannot be loaded; names the remedy.
    """
    available = MemoryAllowance(Tree(Path("/"))).free_bytes(psutil.virtual_memory().available)
    path = Path(model)
    if path.suffix.lower() == ".gguf":
        from conductor.adapters.minds.gguf import GgufModel

        return GgufModel(path, available_bytes=available, key=secrets.token_urlsafe(32), threads=threads)
    from conductor.adapters.minds.hugging_face import HuggingFaceModel

    folder = path if path.is_absolute() else HubCache.of(environment, home).folder_of(model)
    return HuggingFaceModel(folder, name=model, available_bytes=available, threads=threads)


def reader_of(model: TokenModel, chosen: str) -> FormReader | SpokenMind:
    """How the form is filled in: with our own model's tokens where the file is an export of it, else as JSON."""
    path = Path(chosen)
    form = spoken_form(path) if path.suffix.lower() == ".gguf" else None
    return FormReader(model) if form is None else SpokenMind(model, form)


def serve(reader: FormReader | SpokenMind, requests: "queue.Queue[bytes]", answers: BinaryIO) -> None:
    """Answer until the process ends."""
    _send(answers, {"ready": {"name": reader.name, "checksum": reader.checksum}})
    while True:
        request = wire.message(requests.get())
        try:
            found: dict[str, object] = {"proposals": [wire.plain(each) for each in reader.propose(request["texts"])]}
        except _FAILURES as failed:
            found = {"error": _told(failed)}
        _send(answers, {"id": request["id"], **found})


def main(arguments: Sequence[str] | None = None) -> int:
    """Load and serve; the exit code is 1 if the model cannot be loaded."""
    parser = argparse.ArgumentParser(prog="conductor.app.minds.worker", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, help="a .gguf file, a folder, or the id of a cached model")
    parser.add_argument("--threads", type=int, default=1, help="processor threads")
    options = parser.parse_args(arguments)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints must not tear our lines
    requests: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    try:
        model = load(options.model, threads=options.threads, environment=os.environ, home=Path.home())
        reader = reader_of(model, options.model)
        reader.prepare()
    except _FAILURES as failed:
        _send(answers, {"error": _told(failed)})
        return 1
    serve(reader, requests, answers)
    return 0


def _told(failed: BaseException) -> str:
    if isinstance(failed, ConductorError):
        return failed.message
    return f"its computation failed: {str(failed)[:200]}; choose a smaller model"


def _read(source: BinaryIO, requests: "queue.Queue[bytes]") -> None:
    """Runs beside the computation, so that the end of the server is noticed at once."""
    while line := source.readline(wire.LONGEST_LINE):
        requests.put(line)
    os._exit(0)


def _send(answers: BinaryIO, message: Mapping[str, object]) -> None:
    answers.write(wire.line(message))
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
