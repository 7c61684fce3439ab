"""The one tree of errors raised on purpose.

Each error has a stable dotted `code`; the class decides what a face answers (HTTP status, exit code), the code tells
programs what happened, and the message tells people what to do. `field` names the input at fault, if any.
"""

from collections.abc import Mapping

from conductor.domain.json import JsonValue
from conductor.domain.redaction import without_secrets


class ConductorError(Exception):
    """Everything we raise on purpose. Secrets in addresses are masked here, so that no face has to think of it.

    Args:
        message: what happened, with the numbers, and what to do.
        field: dotted path of the input at fault, for example `workload.command`.
        details: further facts for programs; plain JSON values.
    """

    code = "conductor"

    def __init__(
        self, message: str, *, field: str | None = None, details: Mapping[str, JsonValue] | None = None
    ) -> None:
        self.message = without_secrets(message)
        self.field = field
        self.details = {
            name: without_secrets(fact) if isinstance(fact, str) else fact for name, fact in (details or {}).items()
        }
        super().__init__(self.message)


class InvalidInput(ConductorError):
    """What was sent cannot be used as it is; sending it again changes nothing."""

    code = "input"


class NotFound(ConductorError):
    """The thing named does not exist (here, or for this user)."""

    code = "not_found"

    @classmethod
    def task(cls, task_id: str) -> "NotFound":
        """No task has this id."""
        return cls(
            f"there is no task {task_id!r}; `conductor tasks list` shows the tasks there are",
            field="task_id",
        )


class Conflict(ConductorError):
    """The request contradicts what is already so (a used idempotency key, a finished task)."""

    code = "conflict"


class Unauthenticated(ConductorError):
    """No key, or a wrong one."""

    code = "access.key"


class Forbidden(ConductorError):
    """The caller is known and may not do this."""

    code = "access.forbidden"


class Overloaded(ConductorError):
    """A bounded resource is full; trying again after `retry_after_s` is sensible."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after_s: float, field: str | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message, field=field, details={"retry_after_s": round(retry_after_s, 3)})


class Exhausted(ConductorError):
    """A pool (memory, processor, storage, network) cannot hold the request even when idle."""

    code = "resources.exhausted"


class StorageError(ConductorError):
    """The database or a file below it cannot be read or written."""

    code = "storage"


class ModelError(ConductorError):
    """A language model cannot be loaded, or does not answer; decisions are made without it meanwhile.

    `details` has a `reason` where it will fail in the same way until somebody sees to the model, its row in the table or
    the installation; or says `again: false`, as errors of endpoints do.
    """

    code = "model"

    @property
    def lasts(self) -> bool:
        """Whether asking again is in vain until somebody does something."""
        return "reason" in self.details or self.details.get("again") is False


class LedgerError(ConductorError):
    """The ledger or a proof does not verify; `details` says where."""

    code = "ledger"


class SettingsError(InvalidInput):
    """A setting has an unknown name or an impossible value."""

    code = "settings"


class InvalidTransition(ConductorError):
    """A task was asked to go from a state to one that cannot follow it."""

    code = "task.transition"
