"""How llama.cpp's server is started, and what can only be found out by asking it.

Flags as of its builds from 2025 on (`llama-server --help`). Sampling is set to do nothing that was not asked for, as with
our own engines; its web page, its metrics and its fetching of models stay off.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError

#: What the model is called there; its own name may be anything.
SERVED_NAME: Final = "model"
_LARGEST_BATCH: Final = 2_048
_WITHIN_S: Final = 60.0
_DEVICE: Final = re.compile(r"^\s+([A-Za-z]+\d*): ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of it.

    Args:
        context_tokens: of the longest prompt and answer together.
        slots: requests that are computed at a time; they share the memory of the context.
        gpu_layers: layers that go to graphics cards; None as many as it finds room for.
    """

    path: Path
    port: int
    context_tokens: int
    threads: int
    slots: int
    gpu_layers: int | None


def arguments(options: Options) -> list[str]:
    """All that follows the program's name."""
    batch = str(min(options.context_tokens, _LARGEST_BATCH))
    return [
        "--model", str(options.path), "--alias", SERVED_NAME,
        "--host", "127.0.0.1", "--port", str(options.port), "--no-webui",
        "--ctx-size", str(options.context_tokens), "--parallel", str(options.slots), "--kv-unified",
        "--batch-size", batch, "--ubatch-size", batch,
        "--threads", str(options.threads), "--threads-batch", str(options.threads),
        *([] if options.gpu_layers is None else ["--n-gpu-layers", str(options.gpu_layers)]),
        "--jinja", "--reasoning-format", "none",
        "--embeddings", "--pooling", "mean",
        "--samplers", "penalties;temperature;top_p", "--top-k", "0", "--min-p", "0", "--repeat-penalty", "1",
    ]  # fmt: skip


def environment(shared: Mapping[str, str], key: str) -> dict[str, str]:
    """What it sees; the key stands here because arguments are everybody's to read."""
    return {**shared, "LLAMA_API_KEY": key, "LLAMA_OFFLINE": "1"}


async def cards(executable: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The graphics cards that this build of it finds and can use, as it names them: `CUDA0`; empty where none."""
    try:
        asked = await asyncio.create_subprocess_exec(
            executable, "--list-devices", env=dict(environment), start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:  # it cannot be executed: starting it tells why
        return ()
    try:
        async with asyncio.timeout(_WITHIN_S):
            said, _ = await asked.communicate()
    except TimeoutError:
        return ()
    finally:
        with suppress(ProcessLookupError):
            if asked.returncode is None:
                asked.kill()
    listed = said.decode("utf-8", "replace").partition("Available devices:")[2]
    return tuple(dict.fromkeys(_DEVICE.findall(listed))) if asked.returncode == 0 else ()


async def fills_in(client: EndpointClient, origin: str) -> bool:
    """Whether the model has the tokens for filling in."""
    try:
        wanted = {"input_prefix": "a", "input_suffix": "b", "n_predict": 0}
        status, _, _ = await client.ask(origin, "POST", f"{origin}/infill", wanted, within_s=_WITHIN_S)
    except EndpointError:
        return False
    return status == 200
