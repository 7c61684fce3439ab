"""`conductor key`: the key that every call needs."""

import typer

from conductor.domain.errors import NotFound
from conductor.faces.cli import context as contexts

app = typer.Typer(name="key", help="The access key: show, rotate.", no_args_is_help=True)


@app.command("show")
def show(context: typer.Context) -> None:
    """Print the key, for programs such as OpenAPI clients."""
    key = contexts.of(context).installation.read_key()
    if key is None:
        raise NotFound("there is no key yet; the first `conductor run` or `conductor serve` makes one")
    typer.echo(key)


@app.command("rotate")
def rotate(context: typer.Context) -> None:
    """Replace the key. Programs and browsers that used the old one must log in again; the server must not be running."""
    path = contexts.of(context).installation.rotate_key()
    typer.echo(f"The new key is in {path}.")
