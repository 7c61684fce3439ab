"""The process that runs a model: `python -m conductor.app.serving.engine_process --backend … --path …`.

Started by `adapters.runners.process`, with which it talks as `adapters.runners.frames` says. It loads the model, says
what it is or why not, and ends when its standard input closes, even in the middle of a computation.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from conductor.adapters.runners.worker import Engine, Worker
from conductor.adapters.sensors.allowance import MemoryAllowance
from conductor.adapters.sensors.tree import Tree
from conductor.domain.model import Precision


def load(options: argparse.Namespace) -> Engine:
    """Load the model.

    Raises:
        ModelError: it cannot be loaded; names the remedy.
    """
    available = MemoryAllowance(Tree(Path("/"))).free_bytes(psutil.virtual_memory().available)
    if options.backend == "llama.cpp":
        from conductor.adapters.runners.llama_cpp_engine import LlamaCppEngine

        return LlamaCppEngine(
            options.path,
            name=options.name,
            available_bytes=available,
            key=secrets.token_urlsafe(32),
            threads=options.threads,
            most_rows=options.rows,
            most_context_tokens=options.context,
            measure_bytes=resident_bytes,
        )
    from conductor.adapters.runners.transformers_engine import TransformersEngine
    from conductor.adapters.runners.transformers_loading import translates
    from conductor.adapters.runners.translating_engine import TranslatingEngine

    kind = TranslatingEngine if translates(options.path) else TransformersEngine
    return kind(
        options.path,
        name=options.name,
        precision=Precision(options.precision),
        available_bytes=available,
        threads=options.threads,
        most_rows=options.rows,
        most_context_tokens=options.context,
        measure_bytes=resident_bytes,
        devices=options.devices,
    )


def resident_bytes() -> int:
    """Memory of this process."""
    return int(psutil.Process().memory_info().rss)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load and serve; the exit code is 1 if the model cannot be loaded."""
    parser = argparse.ArgumentParser(
        prog="conductor.app.serving.engine_process", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--backend", choices=["transformers", "llama.cpp"], required=True)
    parser.add_argument("--path", type=Path, required=True, help="the model's folder or .gguf file")
    parser.add_argument("--name", required=True, help="how people call the model")
    parser.add_argument("--precision", choices=[each.value for each in Precision], default=Precision.FP32.value)
    parser.add_argument("--threads", type=int, default=1, help="processor threads")
    parser.add_argument("--rows", type=int, default=8, help="requests that are computed at a time")
    parser.add_argument("--context", type=int, help="tokens of the longest context that is kept")
    parser.add_argument("--devices", nargs="*", default=(), help="what the cards that it sees are called outside")
    options = parser.parse_args(arguments)
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints must not tear our frames
    return Worker(sys.stdin.buffer, sink).run(lambda: load(options))


if __name__ == "__main__":
    sys.exit(main())
