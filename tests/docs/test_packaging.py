"""The image, the compose file and the systemd unit: rules of ours, and the tools that know the formats where they are."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from conductor import __version__
from conductor.faces.cli.main import app
from conductor.serving.requirements import EXTRAS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
UNIT = ROOT / "deploy" / "conductor.service"
BESIDE_PYTHON = Path(sys.executable).parent

#: What systemd 251 and later knows of what a service may say (systemd.unit, .service, .exec, .kill, .resource-control).
DIRECTIVES = {
    "Unit": {"Description", "Documentation", "After", "Wants", "Requires", "StartLimitIntervalSec", "StartLimitBurst"},
    "Service": {
        "Type", "NotifyAccess", "ExecStart", "ExecReload", "Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec",
        "WatchdogSec", "KillMode", "DynamicUser", "StateDirectory", "StateDirectoryMode", "CacheDirectory",
        "CacheDirectoryMode", "Environment", "LoadCredential", "Delegate", "TasksMax", "LimitNOFILE", "OOMPolicy",
        "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem", "ProtectHome", "PrivateTmp",
        "ProtectKernelModules", "RestrictAddressFamilies", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
        "SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber", "UMask",
    },
    "Install": {"WantedBy"},
}  # fmt: skip
#: Each of these takes away what tasks are confined with, or hides graphics cards.
BREAKS_TASKS = {
    "RestrictNamespaces", "ProtectControlGroups", "ProcSubset", "ProtectProc", "PrivateUsers", "ProtectKernelTunables",
    "ProtectKernelLogs", "ProtectHostname", "ProtectClock", "PrivateDevices", "MemoryDenyWriteExecute",
}  # fmt: skip


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with their arguments, continued lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    begin = max(place for place, (name, _) in enumerate(every) if name == "FROM")
    return every[begin:]


def unit_lines() -> list[tuple[str, str, str]]:
    """Section, directive and value of each line."""
    section, found = "", []
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.append((section, name, value))
    return found


def test_every_base_image_has_a_version_and_a_later_stage_copies_from_an_earlier_one() -> None:
    bases = [rest for name, rest in instructions() if name == "FROM"]
    stages = [base.split(" AS ")[1] for base in bases if " AS " in base]

    assert len(bases) > 1
    for base in bases:
        assert re.match(r"python:3\.1[1-9]-[a-z]+-[a-z]+(@sha256:[0-9a-f]{64})?( AS \w+)?$", base), base
    assert [rest for name, rest in last_stage() if name == "COPY"] == [
        f"--from={stages[0]} /opt/conductor /opt/conductor"
    ]


def test_the_image_runs_as_somebody_who_is_not_root_and_ends_gracefully() -> None:
    last = dict(last_stage())

    uid, gid = last["USER"].split(":")
    assert int(uid) > 999
    assert int(gid) > 999
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["HEALTHCHECK"].endswith('CMD ["conductor", "status", "--json"]')
    assert f'image.version="{__version__}"' in last["LABEL"]


def test_what_is_copied_into_the_image_exists_and_gets_past_the_ignore_file() -> None:
    let_in = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = [
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]

    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source in let_in, source
    assert {"pyproject.toml", PROJECT["readme"]} <= set(copied), "what the build reads"


def test_an_installed_package_has_every_file_that_is_no_python() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    package = ROOT / "src" / "conductor"
    taken = {path for pattern in setup["package-data"]["conductor"] for path in package.glob(pattern)}
    data = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}

    assert sorted(str(path.relative_to(package)) for path in data - taken) == []


def test_pip_keeps_no_cache_in_the_image_and_nothing_is_compiled() -> None:
    for name, rest in instructions():
        for command in re.findall(r"pip install [^&]*", rest) if name == "RUN" else []:
            assert "--no-cache-dir" in command
            assert "--only-binary :all:" in command


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "deploy/conductor.service", "deploy/settings.yaml"])
def test_no_secret_stands_in_what_people_share(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    secret = re.compile(r"(?i)(password|secret|token|api_?key)\w*\s*[:=]\s*['\"]?[a-z0-9]{6,}$")

    assert not [line for line in text.splitlines() if secret.search(line) and not line.lstrip().startswith("#")]
    assert "postgresql://" not in text


def test_the_entry_point_and_the_extras_that_packaging_names_exist() -> None:
    verbs = {command.name for command in app.registered_commands}
    extras = re.findall(r"ARG EXTRAS=(\w+)", DOCKERFILE) + re.findall(r"CONDUCTOR_EXTRAS:-(\w+)", str(COMPOSE))
    extras += re.findall(r"CHECKOUT\[(\w+)\]", UNIT.read_text())

    assert set(PROJECT["scripts"]) == {"conductor"}
    assert {"serve", "status"} <= verbs
    assert len(extras) == 3
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_every_service_is_hardened_watched_and_its_version_is_named() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert re.search(r":\d", service["image"]), name
    assert COMPOSE["services"]["conductor"]["image"] == f"conductor:{__version__}"
    assert "profiles" not in COMPOSE["services"]["conductor"]
    assert {name: service["profiles"] for name, service in COMPOSE["services"].items() if "profiles" in service} == {
        "postgres": ["postgres"],
        "redis": ["redis"],
    }


def test_ports_are_published_on_loopback_only_and_databases_publish_none() -> None:
    published = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}

    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert [name for name, ports in published.items() if ports] == ["conductor"]


def test_services_use_only_volumes_and_secrets_that_are_declared() -> None:
    for name, service in COMPOSE["services"].items():
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"]), name
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    assert (ROOT / "deploy" / "settings.yaml").exists()


def test_the_containers_settings_are_settings() -> None:
    from conductor.app.settings.keys import describe

    known = {row["name"] for row in describe()}
    given = yaml.safe_load((ROOT / "deploy" / "settings.yaml").read_text())
    variables = {row["variable"] for row in describe()}

    assert {f"{section}.{key}" for section, values in given.items() for key in values} <= known
    assert set(re.findall(r"CONDUCTOR_\w+(?==)", DOCKERFILE)) <= variables


def test_the_unit_uses_directives_that_exist_and_none_that_breaks_tasks() -> None:
    for section, name, _ in unit_lines():
        assert name in DIRECTIVES[section], name
    assert not BREAKS_TASKS & {name for _, name, _ in unit_lines()}


def test_the_unit_is_notified_watched_confined_and_delegated() -> None:
    values = {name: value for _, name, value in unit_lines()}

    assert (values["Type"], values["NotifyAccess"]) == ("notify", "main")
    assert int(values["WatchdogSec"]) >= 10
    assert values["DynamicUser"] == values["NoNewPrivileges"] == "yes"
    assert values["ProtectSystem"] == "strict"
    assert values["CapabilityBoundingSet"] == ""
    assert {"memory", "pids"} <= set(values["Delegate"].split())
    assert {"@system-service", "@mount", "unshare"} <= set(values["SystemCallFilter"].split())


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_doctor_wants_what_the_package_declares(extra: str) -> None:
    declared = PROJECT["optional-dependencies"][extra]

    assert sorted(package.requirement for package in EXTRAS[extra]) == sorted(declared)


def test_torch_is_pinned_exactly() -> None:
    assert [package.requirement for package in EXTRAS["hf"] if package.name == "torch"] == ["torch==2.13.0"]


def tool(name: str) -> str:
    """A program on the path or beside our interpreter; the test is skipped where there is none."""
    found = shutil.which(name) or shutil.which(name, path=str(BESIDE_PYTHON))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr


def test_hadolint_has_nothing_to_say() -> None:
    run(tool("hadolint"), "Dockerfile")


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace("/opt/conductor/bin/conductor", "/bin/true"))
    run(tool("systemd-analyze"), "verify", "--man=no", here)


def test_the_compose_file_is_one() -> None:
    parser: Any = pytest.importorskip("compose_spec", reason="compose-spec is not installed")
    merged = yaml.safe_dump({key: value for key, value in COMPOSE.items() if not key.startswith("x-")})
    merged = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", merged)  # variables are filled in before a file is read

    assert sorted(parser.PyCompose.from_yaml(merged).service_names()) == ["conductor", "postgres", "redis"]
