"""Bring the settings about logs into effect."""

import sys

from conductor.adapters.logs import configure_logs
from conductor.app.settings.model import Settings


def configure_logging(settings: Settings) -> None:
    """Log to standard error as the settings say; may be called again when they change."""
    configure_logs(level=settings.log.level, style=settings.log.format, stream=sys.stderr)
