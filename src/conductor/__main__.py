"""`python -m conductor`: with options alone the server, as `conductor serve`; with a command, the command line."""

import gc
import sys


def main() -> int:
    """Become one of the two; returns the exit code."""
    arguments = sys.argv[1:]
    if arguments and not arguments[0].startswith("-"):
        from conductor.faces.cli.main import main as command_line

        command_line()
    gc.disable()  # what is imported stays; looking through it again and again would take a tenth of the start
    from conductor.faces.http.__main__ import main as server

    gc.enable()
    return server(arguments)


if __name__ == "__main__":
    sys.exit(main())
