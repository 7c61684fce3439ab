"""Choosing a mind: what the setting can name, what is found on this machine, what is listed, and the real worker."""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from conductor.adapters.clock import SystemClock
from conductor.adapters.minds.files import check_gguf, check_memory, digest, safetensors_in
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.minds.worker import WorkerMind
from conductor.app.minds.chosen import language_model
from conductor.app.minds.listing import ListedModel, listed_models
from conductor.app.minds.state import MindNow
from conductor.app.settings.load import load_settings, storable
from conductor.app.settings.mind_choice import MindKind, endpoint_of, mind_kind
from conductor.app.settings.model import Settings
from conductor.app.settings.sources import Surroundings
from conductor.decisions.completion import CompletionReader
from conductor.domain.errors import ModelError, SettingsError


def around(home: Path, **environ: str) -> Surroundings:
    return Surroundings(environ=environ, hostname="test", home=home, working_dir=home, logical_cores=2, user_id=0)


def chosen(home: Path, **values: str | float) -> Settings:
    return load_settings(around(home), arguments={f"mind.{name}": value for name, value in values.items()}).settings


def write_safetensors(path: Path, count: int = 10) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + np.arange(count, dtype=np.float32).tobytes())


def fill_cache(root: Path, name: str, file: str = "model.safetensors") -> Path:
    place = root / f"models--{name.replace('/', '--')}"
    folder = place / "snapshots" / "c0ffee"
    folder.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("c0ffee")
    (place / "blobs").mkdir()
    blob = place / "blobs" / "a"
    write_safetensors(blob)
    named = blob.rename(blob.with_name(digest((blob,))))
    (folder / file).symlink_to(named)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ("conductor", MindKind.OWN),
        ("none", MindKind.NONE),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", MindKind.HUB),
        ("/models/tiny", MindKind.FOLDER),
        ("./tiny", MindKind.FOLDER),
        ("~/tiny.Q4_K_M.gguf", MindKind.GGUF),
        ("tiny.GGUF", MindKind.GGUF),
        ("http://127.0.0.1:11434/v1#llama3.2", MindKind.ENDPOINT),
    ],
)
def test_a_choice_is_told_by_how_it_is_written(choice: str, kind: MindKind) -> None:
    assert mind_kind(choice) is kind


@pytest.mark.parametrize(
    "choice",
    ["", "conductr", "a/b/c", "../x/../pytorch_model.bin", "w.safetensors", "http://", "http://me:key@host/v1", "ftp://x/y",
     "https://host/v1?key=1", "http://host:99999/v1"],
)  # fmt: skip
def test_what_names_no_mind_is_refused_with_what_could_be_named(choice: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"it must be conductor \(our own\), none, a model"):
        chosen(tmp_path, model=choice)


@pytest.mark.parametrize(
    "choice",
    ["http://me:hunter2@host/v1", "https://hunter2@host", "http://me:hun/ter2@host", "http://[me:hunter2@host",
     "http://me:hunter2@ho\u2100st/v1", "http://host/v1?api_key=hunter2", "http://me:my hunter2@host"],
)  # fmt: skip
def test_a_secret_in_an_address_is_refused_without_being_repeated(choice: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as stored:
        storable("mind.model", choice, around(tmp_path))
    with pytest.raises(SettingsError) as started:
        load_settings(around(tmp_path, CONDUCTOR_MIND__MODEL=choice))

    told = f"{stored.value} {started.value} {stored.value.details} {started.value.details}"
    assert "hunter2" not in told
    assert "hun" not in told
    assert "****" in told


def test_a_refused_choice_is_not_said_to_be_set(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^mind\.model cannot be 'foo': it names no kind of model; it must be"):
        storable("mind.model", "foo", around(tmp_path))


def test_paths_of_minds_are_made_absolute(tmp_path: Path) -> None:
    assert chosen(tmp_path, model="~/m.gguf").mind.model == str(tmp_path / "m.gguf")
    assert chosen(tmp_path, model="./m").mind.model == str(tmp_path / "m")


def test_an_endpoint_names_its_model_after_a_hash() -> None:
    assert endpoint_of("http://host/v1#qwen") == ("http://host/v1", "qwen")
    assert endpoint_of("http://host/v1") == ("http://host/v1", None)


def test_the_key_is_never_shown_and_never_stored_in_the_database(tmp_path: Path) -> None:
    loaded = load_settings(around(tmp_path, CONDUCTOR_MIND__API_KEY="sk-very-secret"))

    assert "sk-very-secret" not in json.dumps(loaded.table())
    assert "sk-very-secret" not in repr(loaded.settings)
    with pytest.raises(SettingsError, match="CONDUCTOR_MIND__API_KEY or use YAML") as told:
        storable("mind.api_key", "sk-very-secret", around(tmp_path))
    assert "sk-very-secret" not in str(told.value)


def test_the_setting_decides_which_mind_takes_part(tmp_path: Path) -> None:
    def mind(choice: str) -> object:
        return language_model(chosen(tmp_path, model=choice), around(tmp_path), SystemClock())

    assert mind("none") is None
    assert isinstance(mind("a/b"), WorkerMind)
    assert isinstance(mind("/m.gguf"), WorkerMind)
    served = mind("http://127.0.0.1:9/v1#m")
    assert isinstance(served, CompletionReader)
    assert served.name == "m at http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("choice", "told"),
    [("/nowhere/m.gguf", "cannot be read"), ("Nobody/nothing", "`hf download Nobody/nothing`")],
)
def test_a_mind_that_is_not_there_says_so_through_the_real_worker(choice: str, told: str, tmp_path: Path) -> None:
    environ = {"HF_HOME": str(tmp_path), "LD_LIBRARY_PATH": ""}
    mind = language_model(chosen(tmp_path, model=choice, timeout_s=60), around(tmp_path, **environ), SystemClock())
    assert mind is not None

    if choice.endswith(".gguf") or _has("torch"):
        with pytest.raises(ModelError, match=told):
            mind.propose(["one"])
    else:
        with pytest.raises(ModelError, match=told + r"|pip install 'conductor\[hf\]'"):
            mind.propose(["one"])


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def test_the_cache_of_hugging_face_is_found_where_its_tools_keep_it(tmp_path: Path) -> None:
    places = {
        "HF_HUB_CACHE": tmp_path / "a",
        "HF_HOME": tmp_path / "b" / "hub",
        "XDG_CACHE_HOME": tmp_path / "c" / "huggingface" / "hub",
    }
    for root in places.values():
        fill_cache(root, "Owner/model")
    fill_cache(tmp_path / ".cache" / "huggingface" / "hub", "Owner/model")
    values = {"HF_HUB_CACHE": "a", "HF_HOME": "b", "XDG_CACHE_HOME": "c"}

    for variable, root in places.items():
        cache = HubCache.of({variable: str(tmp_path / values[variable])}, tmp_path)
        assert cache.folder_of("Owner/model").is_relative_to(root)
    assert HubCache.of({}, tmp_path).folder_of("Owner/model").is_relative_to(tmp_path / ".cache")


def test_a_model_outside_the_cache_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="`hf download Owner/model`"):
        HubCache(tmp_path).folder_of("Owner/model")


@pytest.mark.parametrize("commit", ["../../../../etc", "", "/etc"])
def test_a_cache_cannot_lead_out_of_itself(commit: str, tmp_path: Path) -> None:
    fill_cache(tmp_path, "Owner/model")
    (tmp_path / "models--Owner--model" / "refs" / "main").write_text(commit)

    with pytest.raises(ModelError):
        HubCache(tmp_path).folder_of("Owner/model")


def test_whole_weights_are_counted(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", 10)
    write_safetensors(tmp_path / "b.safetensors", 5)

    assert safetensors_in(tmp_path).numbers == 15


@pytest.mark.parametrize("kept", [0, 4, 30, 90])
def test_cut_off_weights_are_told(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(ModelError, match="fetch it again"):
        safetensors_in(tmp_path)


@pytest.mark.parametrize("content", [b"\xff" * 100, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 9) + b'{"w": {}}'])
def test_foreign_bytes_are_no_weights(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(ModelError, match="no whole safetensors file"):
        safetensors_in(tmp_path)


def test_a_pickle_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")

    with pytest.raises(ModelError, match=r"runs code when it is loaded; take a model that offers safetensors"):
        safetensors_in(tmp_path)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no \.safetensors file"):
        safetensors_in(tmp_path)


def test_a_file_that_does_not_begin_like_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"<html>404</html>")

    with pytest.raises(ModelError, match="is no GGUF file"):
        check_gguf(tmp_path / "m.gguf")


def test_a_model_larger_than_memory_is_refused_with_both_sizes() -> None:
    with pytest.raises(ModelError, match=r"needs 8\.3 GiB of memory but 2\.0 GiB are free; .*smaller model"):
        check_memory("m", weight_bytes=8 << 30, available_bytes=2 << 30)
    check_memory("m", weight_bytes=1 << 30, available_bytes=2 << 30)


def listed(home: Path, mind: MindNow, **environment: str) -> dict[str, ListedModel]:
    return {model.name: model for model in listed_models(mind, environment=environment, home=home)}


def running(choice: str, sha256: str = "") -> MindNow:
    return MindNow(configured=choice, in_effect=choice, state="ready", running=choice, sha256=sha256)


def test_the_list_shows_what_is_used_and_what_could_be(tmp_path: Path) -> None:
    folder = fill_cache(tmp_path / "hub", "Owner/model")
    fill_cache(tmp_path / "hub", "Owner/quants", "quants.Q4_K_M.gguf")

    found = listed(tmp_path, running("Owner/model", digest((folder / "model.safetensors",))), HF_HOME=str(tmp_path))

    assert found["Owner/model"].in_use
    assert found["Owner/model"].sha256 == digest((folder / "model.safetensors",))
    assert found["Owner/model"].size_bytes == (folder / "model.safetensors").stat().st_size
    assert not found["Owner/quants/quants.Q4_K_M.gguf"].in_use
    assert any(model.kind == "encoder" and model.in_use for model in found.values())


@pytest.mark.parametrize(
    ("choice", "where"),
    [
        ("http://127.0.0.1:11434/v1#llama3.2", "http://127.0.0.1:11434/v1"),
        ("Owner/absent", "not on this machine"),
        ("/nowhere/m.gguf", "/nowhere/m.gguf (missing)"),
    ],
)
def test_a_chosen_mind_that_fails_is_listed_and_not_as_one_in_use(choice: str, where: str, tmp_path: Path) -> None:
    failing = MindNow(configured=choice, in_effect=choice, state="fails", why="it is away", remedy="wait")

    (mind,) = [model for model in listed(tmp_path, failing).values() if model.where == where]

    assert (mind.state, mind.in_use, mind.configured) == ("fails", False, True)


def test_until_the_restart_the_list_shows_the_mind_that_runs_and_the_one_that_will(tmp_path: Path) -> None:
    changed = MindNow(
        configured="http://127.0.0.1:9/v1#m", in_effect="conductor", state="ready", running="conductor-mind 0.1.0"
    )

    found = listed(tmp_path, changed)

    own = next(model for model in found.values() if model.kind == "own mind")
    assert (own.state, own.in_use, own.configured) == ("in use", True, False)
    assert (found["m"].state, found["m"].in_use, found["m"].configured) == ("next start", False, True)


def test_the_server_never_imports_what_only_the_worker_needs() -> None:
    import subprocess

    code = (
        "import sys, conductor.app.minds.active, conductor.app.minds.at_rest, conductor.app.minds.listing;"
        "print([name for name in ('torch', 'transformers', 'xllamacpp', 'aiohttp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
