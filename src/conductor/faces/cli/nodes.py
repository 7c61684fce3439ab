"""`conductor nodes`: the machines of the fleet."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from conductor.domain.units import format_bytes
from conductor.faces.cli import context as contexts
from conductor.faces.cli import printing

app = typer.Typer(name="nodes", help="Machines: list, show.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def listing(context: typer.Context, as_json: _Json = False) -> None:
    """List the machines with what they have and how they are."""
    here = contexts.of(context)
    with here.server() as client:
        found = client.get("/v1/nodes")
    if as_json:
        printing.print_json(found)
        return
    rows = [
        [
            node["node_id"],
            node["hostname"],
            node["architecture"],
            ", ".join(sorted({device["type"] for device in node["devices"]})),
            str(node["logical_cores"]),
            format_bytes(node["memory_bytes"]),
            _percent((node["reading"] or {}).get("cpu_utilisation")),
            f"{node['performance']['score']:.2f}",
        ]
        for node in found["nodes"]
    ]
    columns = ["Node", "Host", "Arch", "Devices", "Cores", "Memory", "Busy", "Score"]
    here.console.print(printing.table(columns, rows, numbers=columns[4:]))


@app.command("show")
def show(
    context: typer.Context,
    node: Annotated[str | None, typer.Argument(help="A node's id; the only one by default.", metavar="NODE")] = None,
    as_json: _Json = False,
) -> None:
    """Show one machine: devices, reading, performance score with its parts."""
    here = contexts.of(context)
    with here.server() as client:
        found = client.get(f"/v1/nodes/{node or client.get('/v1/nodes')['nodes'][0]['node_id']}")
    if as_json:
        printing.print_json(found)
        return
    here.console.print(
        f"[bold]{found['node_id']}[/bold]  {found['hostname']}: {found['operating_system']}, {found['architecture']}, "
        f"{found['logical_cores']} cores, {format_bytes(found['memory_bytes'])}\n"
    )
    rows = [
        [
            device["type"],
            device["name"],
            str(device["compute_units"]),
            format_bytes(device["memory_bytes"]) if device["memory_bytes"] else "",
            device["found_by"],
        ]
        for device in found["devices"]
    ]
    here.console.print(printing.table(["Type", "Device", "Compute units", "Memory", "Found by"], rows))
    if found["reading"]:
        here.console.print()
        here.console.print(printing.table(["Reading", "Value"], _facts(found["reading"])))
    here.console.print()
    parts = [[name, f"{value:.2f}"] for name, value in found["performance"]["parts"].items() if name != "attempts"]
    score = [["together", f"{found['performance']['score']:.2f}"]]
    here.console.print(printing.table(["Performance", "Score"], [*parts, *score]))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _celsius(value: float) -> str:
    return f"{value:.0f} °C"


#: Readings by name: what they are called, and how a value is written. Others are shown as they come.
_READINGS: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "taken_at_unix_s": ("taken", printing.when),
    "cpu_utilisation": ("processor busy", _percent),
    "free_memory_bytes": ("memory free", format_bytes),
    "free_disk_bytes": ("disk free", format_bytes),
    "load_average_1m": ("load, one minute", lambda load: f"{load:.2f}"),
    "network_bytes_per_s": ("network", lambda rate: f"{format_bytes(rate)}/s"),
    "cpu_temperature_celsius": ("processor temperature", _celsius),
}


def _facts(reading: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, value in reading.items():
        if value in (None, {}, []) or name == "node_id":
            continue
        title, show_value = _READINGS.get(name, (name.replace("_", " "), str))
        rows.append([title, show_value(value)])
    return rows
