"""Tools about the signed record: its head, its entries, receipts, and verification of every byte."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from conductor.app.conductor import Conductor
from conductor.app.tools.offered import Arguments, NoArguments, OfferedTool
from conductor.app.whole_numbers import WHOLE
from conductor.domain.task import TaskId


class Head(TypedDict):
    """The signed head; `size` 0 before the first block, `pending` entries wait to be sealed."""

    public_key: str
    size: int
    pending: int
    root: str | None
    head: dict[str, Any] | None


class EntriesArguments(Arguments):
    """Of `ledger_entries`."""

    start: Annotated[
        int | None, Field(ge=0, le=2**53, description="index of the first entry; the latest without it"), WHOLE
    ] = None
    limit: Annotated[int, Field(ge=1, le=100), WHOLE] = 20


class Entries(TypedDict):
    """Sealed entries in order; `next_start` continues the listing."""

    entries: list[dict[str, Any]]
    next_start: int | None


class ReceiptArguments(Arguments):
    """Of `task_receipt`."""

    task_id: Annotated[str, Field(min_length=1, max_length=100, description="`last` names the task submitted last")]
    kind: Annotated[Literal["decision", "outcome"], Field(description="which entry of the task")] = "outcome"


class Receipt(TypedDict):
    """A receipt that verifies offline with `conductor verify-receipt`: entry, inclusion proof, signed head."""

    receipt: dict[str, Any]


class Verification(TypedDict):
    """What checking every byte found; `ok` is whether all of it holds."""

    ok: bool
    report: dict[str, Any]


def record_tools(conductor: Conductor) -> list[OfferedTool[Any]]:
    """The tools about the ledger."""
    ledger = conductor.ledger

    async def head(_given: NoArguments) -> Mapping[str, Any]:
        found = ledger.head()
        return Head(
            public_key=found["public_key"],
            size=found["size"],
            pending=found["pending"],
            root=found["root"],
            head=found["head"],
        )

    async def entries(given: EntriesArguments) -> Mapping[str, Any]:
        found: list[dict[str, Any]] = [dict(entry) for entry in await ledger.entries(given.start, given.limit)]
        after = int(found[-1]["index"]) + 1 if found else 0
        return Entries(entries=found, next_start=after if found and after < ledger.head()["size"] else None)

    async def receipt(given: ReceiptArguments) -> Mapping[str, Any]:
        task = await conductor.tasks.get(TaskId(given.task_id))
        return Receipt(receipt=dict(await ledger.receipt_of_task(task, given.kind)))

    async def verify(_given: NoArguments) -> Mapping[str, Any]:
        report = dict(await ledger.verify())
        return Verification(ok=bool(report["ok"]), report=report)

    return [
        OfferedTool(
            name="ledger_entries",
            title="Read the record",
            description="Entries of the signed record in order: decisions, outcomes, models that took part. Use it for an "
            "audit; `list_tasks` is shorter for everything else.",
            arguments=EntriesArguments,
            answer=Entries,
            act=entries,
        ),
        OfferedTool(
            name="ledger_head",
            title="Head of the record",
            description="Size, root and signature of the record: whoever keeps it can later prove that nothing was changed.",
            arguments=NoArguments,
            answer=Head,
            act=head,
        ),
        OfferedTool(
            name="task_receipt",
            title="Receipt for a task",
            description="A proof that the decision or outcome of a task stands in the signed record; verifies offline. "
            "Use it when the user needs evidence to hand on.",
            arguments=ReceiptArguments,
            answer=Receipt,
            act=receipt,
        ),
        OfferedTool(
            name="verify_ledger",
            title="Verify the record",
            description="Check every byte of the record now: form, order, links, signatures. Reads the whole file; use it "
            "when the user asks whether the record can be trusted.",
            arguments=NoArguments,
            answer=Verification,
            act=verify,
        ),
    ]
