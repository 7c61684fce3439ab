"""`conductor nodes`: the machines of the fleet."""

from typing import Annotated, Any

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
            _percent(node["reading"], "cpu_utilisation"),
            f"{node['performance']['score']:.2f}",
        ]
        for node in found["nodes"]
    ]
    columns = ["Node", "Host", "Architecture", "Devices", "Cores", "Memory", "CPU busy", "Performance"]
    here.console.print(printing.table(None, columns, rows))


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
        f"[bold]{found['node_id']}[/bold]  {found['hostname']}, {found['operating_system']}, {found['architecture']}, "
        f"{found['logical_cores']} cores, {format_bytes(found['memory_bytes'])}"
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
    here.console.print(printing.table(None, ["Type", "Device", "Compute units", "Memory", "Found by"], rows))
    if found["reading"]:
        facts = {
            name: value for name, value in found["reading"].items() if value not in (None, {}) and name != "node_id"
        }
        here.console.print(
            printing.table(None, ["Reading", ""], [[name, _shown(value)] for name, value in facts.items()])
        )
    parts = [[name, f"{value:.3f}"] for name, value in found["performance"]["parts"].items()]
    title = f"Performance {found['performance']['score']:.2f}"
    here.console.print(printing.table(title, ["Part", ""], parts))


def _percent(reading: dict[str, Any] | None, name: str) -> str:
    return "" if reading is None or reading[name] is None else f"{reading[name]:.0%}"


def _shown(value: Any) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
