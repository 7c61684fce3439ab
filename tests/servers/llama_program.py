"""llama.cpp's server for the tests: the real `llama-server` where it is on the PATH, or else llama.cpp's own HTTP server as
`xllamacpp` packages it, behind a launcher that understands `llama-server`'s flags and so stands in for the program only."""

import importlib.util
import shutil
import sys
from pathlib import Path

LAUNCHER = """
import argparse, os, sys, threading
if sys.argv[1:] == ["--list-devices"]:
    print("Available devices:\\n  (none)")
    sys.exit(0)
import xllamacpp
p = argparse.ArgumentParser()
for flag in ("model", "alias", "host", "samplers", "reasoning-format", "pooling"):
    p.add_argument("--" + flag)
for flag in ("port", "ctx-size", "parallel", "batch-size", "ubatch-size", "threads"):
    p.add_argument("--" + flag, type=int)
for flag in ("threads-batch", "n-gpu-layers", "top-k"):
    p.add_argument("--" + flag, type=int)
for flag in ("min-p", "repeat-penalty"):
    p.add_argument("--" + flag, type=float)
for flag in ("no-webui", "kv-unified", "jinja", "embeddings"):
    p.add_argument("--" + flag, action="store_true")
o = p.parse_args()
c = xllamacpp.CommonParams()
c.model.path, c.model_alias = o.model, {o.alias}
c.hostnames, c.port, c.api_keys = [o.host], o.port, [os.environ["LLAMA_API_KEY"]]
c.n_ctx, c.n_parallel, c.kv_unified = o.ctx_size, o.parallel, o.kv_unified
c.n_batch, c.n_ubatch = o.batch_size, o.ubatch_size
c.cpuparams.n_threads = c.cpuparams_batch.n_threads = o.threads
c.use_jinja, c.embedding = o.jinja, o.embeddings
c.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
c.ui = c.warmup = c.fit_params = False
try:
    server = xllamacpp.Server(c)
except Exception as wrong:
    print("error: failed to load model:", wrong, file=sys.stderr)
    sys.exit(1)
threading.Event().wait()
"""


def find_llama_server(folder: Path) -> tuple[Path, bool] | None:
    """A program called `llama-server`, and whether it is the real one; None where neither is here."""
    real = shutil.which("llama-server")
    if real is not None:
        return Path(real), True
    if importlib.util.find_spec("xllamacpp") is None:
        return None
    folder.mkdir(exist_ok=True)
    path = folder / "llama-server"
    path.write_text(f"#!{sys.executable}\n{LAUNCHER}", encoding="utf-8")
    path.chmod(0o755)
    return path, False
