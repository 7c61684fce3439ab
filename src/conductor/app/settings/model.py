"""Every setting there is: its name with its unit, its default, its bounds and what it does.

Names are dotted and the same everywhere: `queue.depth` in the database and in `conductor settings set queue.depth 500`,
`queue:` with `depth: 500` below it in YAML, `CONDUCTOR_QUEUE__DEPTH=500` in the environment (a dot becomes two
underscores). The field descriptions here are what the command line and the documentation print.

Sizes may be written `2GiB`, durations `90s` or `5min`, lists as `a,b`. Where values come from is `sources` and `load`;
that a value takes part in a rule is for the room that owns the rule. Not covered: settings of plug-ins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from conductor.app.settings.mind_choice import MindKind, check_vision, mind_kind
from conductor.domain.errors import InvalidInput
from conductor.domain.units import GIB, MIB, parse_bytes, parse_duration_s


@dataclass(frozen=True, slots=True)
class Form:
    """What a value looks like, in words that complete "it must be …"."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What else is known about a setting.

    Args:
        restart: takes effect only at the next start.
        needed_first: must be known before the database is open, so it cannot be stored there.
        secret: never shown whole.
        default_text: how the default is described when it depends on the machine.
    """

    restart: bool = False
    needed_first: bool = False
    secret: bool = False
    default_text: str = ""


def _number(value: object) -> object:
    if isinstance(value, bool):  # YAML reads `yes` as true, and Python counts true as 1
        raise ValueError("is a truth value")  # noqa: TRY004 - pydantic reports ValueError only
    return value


def _seconds(value: object) -> object:
    return _number(_in_units(parse_duration_s, value))


def _bytes(value: object) -> object:
    return _number(_in_units(parse_bytes, value))


def _in_units(parse: Callable[[str], float], value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse(value)
    except InvalidInput as unreadable:
        raise ValueError(unreadable.message) from unreadable


def _words(value: object) -> object:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _path(value: object, info: ValidationInfo) -> object:
    """Make a path absolute: `~` is the home folder, a relative path starts at the folder of its source."""
    if not isinstance(value, str | Path) or info.context is None:
        return value
    if not str(value):
        raise ValueError("is empty")
    text, home, base = str(value), info.context["home"], info.context["base"]
    return home / text[2:] if text.startswith("~/") else home if text == "~" else base / text


def _mind(value: object, info: ValidationInfo) -> object:
    """A choice of a mind; paths are made absolute."""
    if not isinstance(value, str):
        return value
    kind = mind_kind(value)
    return str(_path(value, info)) if kind in (MindKind.FOLDER, MindKind.GGUF) else value


Count = Annotated[int, BeforeValidator(_number), Form("a whole number")]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False), Form("a number")]
Seconds = Annotated[
    float, BeforeValidator(_seconds), Field(allow_inf_nan=False), Form("seconds, or a duration such as 90s or 5min")
]
Bytes = Annotated[int, BeforeValidator(_bytes), Form("bytes, or a size such as 512M or 2GiB")]
Flag = Annotated[bool, Form("true or false")]
Text = Annotated[str, Field(min_length=1), Form("text")]
Words = Annotated[tuple[str, ...], BeforeValidator(_words), Form("a list of words, or words separated by commas")]
FilePath = Annotated[Path, BeforeValidator(_path), Form("a path")]
MindChoice = Annotated[
    str,
    BeforeValidator(_mind),
    Form(
        "conductor (our own), none, a model of the Hugging Face cache (OWNER/NAME), a folder or a .gguf file "
        "(beginning with / or ~ or .), or an endpoint (http://HOST:PORT/v1#MODEL)"
    ),
]
VisionChoice = Annotated[
    str, AfterValidator(check_vision), Form("an OpenAI-compatible endpoint (http://HOST:PORT/v1#MODEL)")
]
Secret = Annotated[SecretStr, Form("text")]
Url = Annotated[SecretStr, Form("sqlite:///path/to/file or postgresql://user@host/name")]


def _setting(default: Any, description: str, traits: Traits | None = None, **bounds: Any) -> Any:
    extra: Any = {"traits": traits or Traits()}  # read by `keys` only; no JSON schema is made of settings
    return Field(default, description=description, json_schema_extra=extra, **bounds)


_RESTART: Final = Traits(restart=True)


class Section(BaseModel):
    """Settings that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(Section):
    """The HTTP server."""

    host: Text = _setting(
        "127.0.0.1", "Address to listen on; other machines reach only what is not loopback.", _RESTART
    )
    port: Count = _setting(8000, "Port to listen on; 0 takes any free one.", _RESTART, ge=0, le=65535)
    require_key: Flag = _setting(
        True,
        "Whether every call needs the key. Without it only loopback is served, and nothing that executes code.",
        _RESTART,
    )
    allowed_hosts: Words = _setting((), "Further host names this server answers for, besides loopback and `host`.")
    allowed_origins: Words = _setting((), "Origins of web pages that may call, such as https://team.example.")
    session_s: Seconds = _setting(43_200.0, "How long a browser stays logged in.", _RESTART, gt=0)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> Self:
        if not self.require_key and not self.is_loopback:
            raise ValueError(
                f"server.require_key is off while server.host is {self.host}; listen on 127.0.0.1 or require the key"
            )
        return self


class Log(Section):
    """What is logged, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Form("debug, info, warning or error")] = _setting(
        "info", "The least severe record that is written."
    )
    format: Annotated[Literal["json", "text"], Form("json or text")] = _setting(
        "json", "One JSON object per line, or text for people."
    )


class LevelWeights(Section):
    """How much service each level gets while several have tasks waiting."""

    critical: Number = _setting(8.0, "Weight of priority 1.", _RESTART, gt=0)
    high: Number = _setting(4.0, "Weight of priority 2.", _RESTART, gt=0)
    medium: Number = _setting(2.0, "Weight of priority 3.", _RESTART, gt=0)
    low: Number = _setting(1.0, "Weight of priorities 4 and 5.", _RESTART, gt=0)


class Queue(Section):
    """Tasks that wait."""

    depth: Count = _setting(1000, "Tasks that may wait; a further one is refused with a time to retry.", ge=1)
    aging_s: Seconds = _setting(30.0, "A task that has waited this long is overdue and gets a turn of its own.", ge=0)
    aging_turn: Count = _setting(8, "Every so many starts, the oldest overdue task goes first.", ge=1)
    weights: LevelWeights = LevelWeights()


class Retry(Section):
    """When a failed attempt is repeated."""

    max_retries: Count = _setting(3, "Further attempts after the first.", ge=0, le=100)
    factor: Number = _setting(1.5, "By what the delay grows from one attempt to the next.", ge=1)
    first_delay_s: Seconds = _setting(1.0, "Delay before the second attempt.", gt=0)
    max_delay_s: Seconds = _setting(60.0, "No delay is longer.", gt=0)
    jitter: Number = _setting(0.2, "Largest random deviation, as a share of the delay.", ge=0, le=1)

    @model_validator(mode="after")
    def _delays_fit(self) -> Self:
        if self.max_delay_s < self.first_delay_s:
            raise ValueError(
                f"retry.max_delay_s ({self.max_delay_s:g}) is less than retry.first_delay_s ({self.first_delay_s:g})"
            )
        return self


class TaskLimits(Section):
    """The slice of a task that asks for none; the names are those of a task's own `limits`."""

    memory_bytes: Bytes = _setting(2 * GIB, "Memory over all processes of a task.", gt=0)
    wall_time_s: Seconds = _setting(300.0, "Time from start to end of one attempt.", gt=0)
    cpu_time_s: Seconds = _setting(3600.0, "Processor time over all processes of one attempt.", gt=0)
    output_bytes: Bytes = _setting(16 * MIB, "What a task may print.", gt=0)
    processes: Count = _setting(256, "Processes and threads at one time.", gt=0)
    network: Flag = _setting(False, "Whether tasks reach the network without asking for it.")


class Executor(Section):
    """Running tasks on this machine."""

    workers: Count = _setting(
        ..., "Tasks that run at one time.", Traits(restart=True, default_text="the logical cores we may use"), ge=1
    )
    drain_s: Seconds = _setting(
        20.0, "How long a stopping server waits for running tasks; what is cut off is repeated at the next start.", ge=0
    )
    kill_grace_s: Seconds = _setting(2.0, "Time between asking a process to end and killing it.", _RESTART, ge=0)


class NodeSettings(Section):
    """This machine as a member of the fleet."""

    name: Text = _setting(
        ..., "How people call this machine.", Traits(restart=True, default_text="the host name"), max_length=200
    )
    reading_interval_s: Seconds = _setting(1.0, "Time between readings of sensors and load.", _RESTART, ge=0.1)
    silence_s: Seconds = _setting(10.0, "A node that says nothing for so long gets no work.", _RESTART, gt=0)
    readings_kept_s: Seconds = _setting(86_400.0, "How long readings are kept.", _RESTART, gt=0)


class LedgerSettings(Section):
    """The signed record."""

    block_entries: Count = _setting(1000, "A block is sealed when it holds so many entries,", _RESTART, ge=1)
    block_interval_s: Seconds = _setting(0.25, "or when its first entry has waited this long.", _RESTART, gt=0)
    key_file: FilePath | None = _setting(
        None, "File of the signing key.", Traits(restart=True, default_text="in the data folder")
    )


class Mind(Section):
    """What decisions remember, and the language model that takes part in them."""

    model: MindChoice = _setting("conductor", "The language model that takes part in decisions.", _RESTART)
    model_name: Text | None = _setting(
        None, "Which model of an endpoint.", Traits(restart=True, default_text="the first one it lists"), max_length=200
    )
    api_key: Secret | None = _setting(
        None, "Sent to an endpoint as bearer key.", Traits(restart=True, secret=True, default_text="none")
    )
    timeout_s: Seconds = _setting(20.0, "How long one decision waits for a foreign language model.", _RESTART, gt=0)
    experiences: Count = _setting(20_000, "Different past tasks kept in memory, 1.5 kB each.", _RESTART, ge=100)


class ServingSettings(Section):
    """The language models that are served."""

    settings_md: FilePath | None = _setting(
        None,
        "Page with persona and model table; saving it takes effect at once.",
        Traits(restart=True, needed_first=True, default_text="SETTINGS.md in the data folder"),
    )
    load_models: Flag = _setting(
        True, "Whether models may be loaded. Without it everything else is served, for a quick look.", _RESTART
    )
    preload: Flag = _setting(
        True, "Whether models that stay loaded are loaded at the start, and not with their first request.", _RESTART
    )
    idle_s: Seconds = _setting(600.0, "A model that nobody used for this long is unloaded.", _RESTART, gt=0)
    fetch_ahead: Annotated[Literal["nothing", "files", "models"], Form("nothing, files or models")] = _setting(
        "files",
        "What is made ready before it is asked for: files of the model that is probably next, and what every request to a "
        "loaded model begins with; or whole models too, while the machine is idle and memory free.",
        _RESTART,
    )
    context_tokens: Count = _setting(
        8192, "Longest context a model on this machine keeps; more costs memory.", _RESTART, ge=128
    )
    endpoint_keys: Words = _setting(
        (),
        "Keys of endpoints, as https://host=KEY.",
        Traits(restart=True, secret=True, needed_first=True, default_text="none"),
    )
    endpoint_silence_s: Seconds = _setting(
        300.0, "An endpoint that sends nothing for this long in the middle of a request is given up.", _RESTART, gt=0
    )
    requests_per_s: Number = _setting(
        1000.0, "Requests a second that one caller may pass on to endpoints.", _RESTART, gt=0
    )
    cache_memory_mb: Count = _setting(
        64,
        "Memory in MB (10^6 bytes) for answers that are certain to come out the same again; 0 keeps none at all.",
        _RESTART,
        ge=0,
    )
    cache_disk_mb: Count = _setting(
        0,
        "Space in MB for such answers below the data folder, where they outlive a restart; 0 keeps them in memory only.",
        _RESTART,
        ge=0,
    )
    cache_s: Seconds = _setting(3600.0, "A kept answer that is older is not given out any more.", _RESTART, gt=0)
    tokens_per_min: Number | None = _setting(
        None,
        "Tokens a minute that one caller may use of endpoints.",
        Traits(restart=True, default_text="no bound"),
        gt=0,
    )


class AttachmentSettings(Section):
    """Files that tasks carry."""

    max_bytes: Bytes = _setting(32 * MIB, "The largest file that may be attached.", gt=0)
    total_bytes: Bytes = _setting(4 * GIB, "What all attached files together may take.", _RESTART, gt=0)
    kept_s: Seconds = _setting(
        7 * 86_400.0, "A file that no open task needs is removed so long after its last use.", gt=0
    )
    vision_model: VisionChoice | None = _setting(
        None,
        "The model that says what attached pictures show: each is sent to it when it is attached, as a small copy where "
        "Pillow is installed. Without this setting no picture is sent anywhere. Its key is one of serving.endpoint_keys.",
        Traits(default_text="none"),
    )


class Storage(Section):
    """Writing to the database."""

    patience_s: Seconds = _setting(10.0, "How long a failing database is tried before calls fail.", _RESTART, gt=0)


class Settings(Section):
    """All settings; frozen, so a change is a new object."""

    data_dir: FilePath = _setting(
        ...,
        "Folder of everything this installation keeps.",
        Traits(restart=True, needed_first=True, default_text="$XDG_DATA_HOME/conductor or ~/.local/share/conductor"),
    )
    database_url: Url | None = _setting(
        None,
        "Database of tasks and settings.",
        Traits(restart=True, needed_first=True, secret=True, default_text="SQLite in the data folder"),
    )
    server: Server = Server()
    log: Log = Log()
    queue: Queue = Queue()
    retry: Retry = Retry()
    limits: TaskLimits = TaskLimits()
    executor: Executor
    node: NodeSettings
    ledger: LedgerSettings = LedgerSettings()
    mind: Mind = Mind()
    serving: ServingSettings = ServingSettings()
    attachments: AttachmentSettings = AttachmentSettings()
    storage: Storage = Storage()
