"""Tokens a second of the Transformers backend: one stream and eight at a time, beside transformers' own `generate`.

The model is a Llama of 97 million random numbers in float32, made here, so nothing is fetched; speed does not depend on
what the numbers are. Ours runs as it does in the product, in an engine process, asked over its pipes; `generate` runs in
this process with as many threads. Every request has a prompt of 24 words of its own and 48 tokens of answer. Start-up
and loading are not counted.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import ROOT, CannotRun, Goal, Row, WrongResult, compare, interleave
from conductor.adapters.clock import SystemClock
from conductor.adapters.logs import configure_logs
from conductor.adapters.runners.process import EngineCommand, ProcessRunner, start
from conductor.domain.generation import Generation, Sampling

ROUNDS: Final = 3
AT_ONCE: Final = 8
ANSWER_TOKENS: Final = 48
PROMPT_WORDS: Final = 24
VOCABULARY: Final = 16_000
THREADS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run() -> list[Row]:
    """All rows of this benchmark."""
    with written_model() as model:
        import torch
        import transformers

        return asyncio.run(_rows(torch, transformers, model))


@contextlib.contextmanager
def written_model() -> Iterator[Path]:
    """The folder of the model, made for the length of the block.

    Raises:
        CannotRun: torch or transformers is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as missing:
        raise CannotRun(f"{missing.name} is not installed; install it with `pip install 'conductor[hf]'`") from missing
    torch.set_num_threads(THREADS)
    configure_logs(level="warning", style="text", stream=sys.stderr)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="conductor-serving-") as folder:
        yield _write_model(torch, transformers, Path(folder))


async def _rows(torch: Any, transformers: Any, folder: Path) -> list[Row]:
    reference = transformers.LlamaForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    arguments = ["--backend", "transformers", "--path", str(folder), "--name", "random", "--precision", "FP32"]
    arguments += ["--threads", str(THREADS), "--rows", str(AT_ONCE)]
    command = EngineCommand(
        program=(sys.executable, "-m", "conductor.app.serving.engine_process"),
        environment={"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    runner = await start(command, arguments, name="random", clock=SystemClock())
    loop = asyncio.get_running_loop()

    def from_thread(prompts: Sequence[str]) -> float:
        return asyncio.run_coroutine_threadsafe(_ours(runner, prompts), loop).result()

    sides: dict[str, Callable[[], float]] = {
        "generate": lambda: _generate(torch, reference, tokenizer, _prompts()[:2]),
        "one": lambda: sum(from_thread([prompt]) for prompt in _prompts()[:2]) / 2,
        "eight": lambda: from_thread(_prompts()),
    }
    try:
        for side in sides.values():
            await asyncio.to_thread(side)  # the first use of everything is slow
        speeds = await asyncio.to_thread(interleave, ROUNDS, sides)
    finally:
        await runner.close()
    peer = f"transformers {transformers.__version__} generate, one after the other"
    sequential = speeds["generate"]
    return [
        compare(
            "one request at a time", "tokens/s", speeds["one"], more_is_better=True, peer_name=peer, peer=sequential,
            goal=Goal("times peer", 0.9),
        ),
        compare(
            f"{AT_ONCE} requests at a time", "tokens/s", speeds["eight"], more_is_better=True, peer_name=peer,
            peer=sequential, goal=Goal("times peer", 3),
        ),
    ]  # fmt: skip


_USED = iter(range(1_000_000))


def _prompts() -> list[str]:
    """Eight prompts that were never used, so that no beginning is remembered from the round before."""
    return [" ".join(f"w{next(_USED) * 7 % (VOCABULARY - 10)}" for _ in range(PROMPT_WORDS)) for _ in range(AT_ONCE)]


async def _ours(runner: ProcessRunner, prompts: Sequence[str]) -> float:
    """Tokens a second of all these requests together."""
    began_s = time.perf_counter()
    counts = await asyncio.gather(*[_answered(runner, prompt) for prompt in prompts])
    return sum(counts) / (time.perf_counter() - began_s)


async def _answered(runner: ProcessRunner, prompt: str) -> int:
    asked = Generation(prompt=prompt, sampling=Sampling(max_tokens=ANSWER_TOKENS, temperature=0))
    async for piece in runner.generate(asked):
        if piece.usage is not None:
            return _whole(piece.usage.completion_tokens)
    raise WrongResult("an answer without its end")


def _generate(torch: Any, model: Any, tokenizer: Any, prompts: Sequence[str]) -> float:
    began_s, count = time.perf_counter(), 0
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.inference_mode():
            whole = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=ANSWER_TOKENS, pad_token_id=1
            )
        count += _whole(whole.shape[1] - ids.shape[1])
    return count / (time.perf_counter() - began_s)


def _whole(tokens: int) -> int:
    if tokens != ANSWER_TOKENS:
        raise WrongResult(f"{tokens} tokens were written, not {ANSWER_TOKENS}")
    return tokens


def _write_model(torch: Any, transformers: Any, folder: Path) -> Path:
    """The model and a tokenizer that knows words by number."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = {"<s>": 0, "</s>": 1, "<unk>": 2, **{f"w{number}": number + 3 for number in range(VOCABULARY - 3)}}
    words = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=768, intermediate_size=2_048, num_hidden_layers=12, num_attention_heads=12,
        num_key_value_heads=12, max_position_embeddings=2_048, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    from benchmarks.harness import table

    print(table(run()))
