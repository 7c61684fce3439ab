"""Files and batches, by the official client and over a restart."""

import asyncio
import json
import threading
from typing import Any

import pytest
from openai.types import Batch
from tests.openai.conftest import Live, build
from tests.openai.scripted import CHAT_NAME, Script

import openai
from conductor.adapters.clock import SystemClock
from conductor.adapters.document_folder import DocumentFolder
from conductor.app.serving.batch_work import Performed
from conductor.app.serving.batches import Batches
from conductor.domain.errors import ModelError, StorageError
from conductor.faces.http.openai.routes import OpenAI

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


def line(name: str, model: str = CHAT_NAME, **changes: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return {"custom_id": name, "method": "POST", "url": CHAT, "body": body} | changes


async def sent(live: Live, *lines: Any) -> str:
    content = "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines).encode()
    return (await live.client.files.create(file=("in.jsonl", content), purpose="batch")).id


async def begun(live: Live, *lines: Any) -> Batch:
    file_id = await sent(live, *lines)
    return await live.client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")


async def ended(live: Live, batch: Batch) -> Batch:
    async with asyncio.timeout(30):
        while batch.status not in ("completed", "failed", "cancelled", "expired"):
            await asyncio.sleep(0.01)
            batch = await live.client.batches.retrieve(batch.id)
    return batch


async def entries(live: Live, file_id: str | None) -> dict[str, Any]:
    assert file_id is not None
    text = (await live.client.files.content(file_id)).text
    return {entry["custom_id"]: entry for entry in map(json.loads, text.splitlines())}


async def test_every_line_has_its_answer_or_its_error(live: Live) -> None:
    batch = await ended(live, await begun(live, line("a"), line("b", model="nobody"), line("c", model="auto")))

    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (3, 2, 1)
    good, bad = await entries(live, batch.output_file_id), await entries(live, batch.error_file_id)
    assert sorted(good) == ["a", "c"]
    assert good["a"]["response"]["body"]["choices"][0]["message"]["content"] == "Hello, world!"
    assert (bad["b"]["response"]["status_code"], bad["b"]["response"]["body"]["error"]["code"]) == (
        404,
        "model_not_found",
    )
    assert [one.id async for one in live.client.batches.list()] == [batch.id]


@pytest.mark.parametrize("lines", [
    ("no json",),
    (line("a"), line("a")),
    (line("a", method="GET"),),
    (line("a", url="/v1/embeddings"),),
    (line("a", body=[]),),
    (line(""),),
    (line("a", body={"stream": True}),),
    (" ",),
])  # fmt: skip
async def test_a_file_with_a_wrong_line_fails_and_the_line_is_named(live: Live, lines: tuple[Any, ...]) -> None:
    batch = await ended(live, await begun(live, *lines))

    assert batch.status == "failed"
    assert batch.errors is not None
    assert [one.line for one in batch.errors.data or []] == [len(lines) if lines != (" ",) else None]


async def test_a_cancelled_batch_keeps_what_was_answered(live: Live, script: Script) -> None:
    script.wait_after = 1
    batch = await begun(live, line("a"), line("b"))
    while not script.writing:
        await asyncio.sleep(0.01)
    assert (await live.client.batches.cancel(batch.id)).status == "cancelling"
    batch = await ended(live, batch)

    assert (batch.status, batch.output_file_id, script.writing, script.leases) == ("cancelled", None, 0, 0)
    with pytest.raises(openai.ConflictError):
        await live.client.batches.cancel(batch.id)


async def test_a_batch_goes_on_after_a_restart_where_it_was(live: Live, script: Script) -> None:
    await begun(live, *(line(str(number)) for number in range(3)))
    batch = await ended(live, (await live.client.batches.list()).data[0])
    kept = live.batches.get(batch.id)
    output = live.folder / "files" / f"{kept.output_file_id}.bytes"
    whole = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(whole[0] + whole[1][:20])  # as if the machine had died in the middle of the second line
    document = live.folder / "batches" / f"{batch.id}.json"
    document.write_text(document.read_text().replace('"status":"completed"', '"status":"in_progress"'))
    script.asked.clear()

    again = build(live.folder, script)
    await again.files.recover()
    await again.batches.recover()
    again.batches.answer_with(OpenAI(again.serving).perform)
    working = asyncio.create_task(again.batches.run())
    async with asyncio.timeout(30):
        while not again.batches.get(batch.id).is_ended:
            await asyncio.sleep(0.01)
    working.cancel()

    ids = [json.loads(one)["custom_id"] for one in output.read_bytes().splitlines()]
    assert sorted(ids) == ["0", "1", "2"]
    assert len(script.asked) == 2
    assert again.batches.get(batch.id).completed == 3


async def test_a_batch_whose_answers_were_damaged_fails_and_the_next_one_goes_on(live: Live, script: Script) -> None:
    batch = await ended(live, await begun(live, line("a")))
    kept = live.batches.get(batch.id)
    (live.folder / "files" / f"{kept.output_file_id}.bytes").write_bytes(b"no answer\n")
    kept.status = "in_progress"

    following = await ended(live, await begun(live, line("b")))
    failed = await live.client.batches.retrieve(batch.id)

    assert (failed.status, following.status) == ("failed", "completed")
    assert failed.errors is not None
    assert "damaged" in str((failed.errors.data or [])[0].message)


@pytest.mark.parametrize("status", ["validating", "in_progress"])
async def test_a_batch_whose_file_was_deleted_fails_and_says_why(live: Live, status: str) -> None:
    batch = await ended(live, await begun(live, line("a")))
    await live.client.files.delete(batch.input_file_id)
    live.batches.get(batch.id).status = status

    await ended(live, await begun(live, line("b")))
    failed = await live.client.batches.retrieve(batch.id)

    assert failed.status == "failed"
    assert failed.errors is not None
    assert "was deleted" in str((failed.errors.data or [])[0].message)


async def test_a_batch_that_cannot_be_written_fails_and_says_why(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str, content: bytes) -> None:
        raise StorageError(f"{name} cannot be written: the disk is full")

    file_id = await sent(live, line("a"))
    monkeypatch.setattr(live.files.folder, "append", full)
    batch = await live.client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    batch = await ended(live, batch)

    assert batch.status == "failed"
    assert batch.errors is not None
    assert "the disk is full" in str((batch.errors.data or [])[0].message)


async def test_a_batch_that_fails_on_its_way_gives_what_was_answered(
    live: Live, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, answers = live.files.folder.append, 0

    def filling(name: str, content: bytes) -> None:
        nonlocal answers
        answers += 1
        if answers > 1:
            raise StorageError("the disk is full")
        append(name, content)

    file_id = await sent(live, *(line(str(number)) for number in range(9)))
    monkeypatch.setattr(live.files.folder, "append", filling)
    batch = await live.client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    batch = await ended(live, batch)

    assert batch.status == "failed"
    assert len(await entries(live, batch.output_file_id)) == 1


async def test_files_of_batches_are_known_whoever_wrote_them(live: Live) -> None:
    batch = await ended(live, await begun(live, line("a")))
    kept = live.batches.get(batch.id)
    (live.folder / "batches" / "batch_other.json").write_text('{"of": "another version", "output_file_id": "file-2"}')

    assert await live.batches.writes_to() >= {kept.output_file_id, kept.error_file_id, "file-2"}


async def test_a_batch_that_was_said_to_be_cancelled_does_not_complete(
    live: Live, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DocumentFolder(live.folder / "batches")
    batches = Batches(folder, live.files, clock=SystemClock(), new_id=lambda: "1")
    answered, written, write = asyncio.Event(), threading.Event(), folder.write

    async def perform(path: str, body: dict[str, Any]) -> Performed:
        await answered.wait()
        return Performed(200, {})

    def slowly(name: str, document: dict[str, Any]) -> None:
        if document["status"] == "cancelling":
            written.wait(10)
        write(name, document)

    monkeypatch.setattr(folder, "write", slowly)
    batches.answer_with(perform)
    working = asyncio.create_task(batches.run())
    batch = await batches.create(input_file_id=await sent(live, line("a")), endpoint=CHAT, metadata={})
    while batch.status != "in_progress":
        await asyncio.sleep(0.001)
    cancelling = asyncio.create_task(batches.cancel(batch.batch_id))
    while batch.cancelling_at is None:
        await asyncio.sleep(0.001)
    answered.set()
    for _ in range(50):
        await asyncio.sleep(0.001)
    written.set()
    await cancelling
    async with asyncio.timeout(10):
        while not batch.is_ended:
            await asyncio.sleep(0.001)
    while (document := folder.read(batch.batch_id)) is None or document["status"] in ("in_progress", "cancelling"):
        await asyncio.sleep(0.001)
    working.cancel()

    assert (batch.status, document["status"]) == ("cancelled", "cancelled")


async def test_a_line_is_tried_again_where_the_model_fails_for_a_moment(live: Live, script: Script) -> None:
    script.stumbles = 2
    batch = await ended(live, await begun(live, line("a")))

    assert batch.output_file_id is not None
    assert (len(script.asked), batch.error_file_id) == (3, None)


async def test_a_line_is_not_tried_again_where_that_is_in_vain(
    live: Live, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def damaged(*_: Any, **__: Any) -> None:
        nonlocal asked
        asked += 1
        raise ModelError("model.gguf is damaged; fetch it again", details={"reason": "corrupt"})

    monkeypatch.setattr(live.serving, "converse", damaged)
    batch = await ended(live, await begun(live, line("a")))

    assert (await entries(live, batch.error_file_id))["a"]["response"]["status_code"] == 503
    assert asked == 1


async def test_files_are_listed_read_and_deleted(live: Live) -> None:
    file_id = await sent(live, line("a"))
    file = await live.client.files.retrieve(file_id)

    assert (file.filename, file.purpose, file.object) == ("in.jsonl", "batch", "file")
    assert len((await live.client.files.content(file_id)).content) == file.bytes
    assert [one.id async for one in live.client.files.list(purpose="batch")] == [file_id]
    assert (await live.client.files.delete(file_id)).deleted
    with pytest.raises(openai.NotFoundError):
        await live.client.files.retrieve(file_id)
    assert not list((live.folder / "files").glob("*"))


@pytest.mark.parametrize(("content", "purpose"), [(b"", "batch"), (b"x" * 100_001, "batch"), (b"x", "fun")])
async def test_a_file_that_cannot_be_taken_leaves_nothing(live: Live, content: bytes, purpose: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await live.client.files.create(file=("x", content), purpose=purpose)

    assert sorted(caught.value.response.json()["error"]) == ["code", "message", "param", "type"]
    assert not list((live.folder / "files").glob("*"))


async def test_all_files_together_are_bounded(live: Live) -> None:
    await live.client.files.create(file=("x", b"x" * 90_000), purpose="batch")
    with pytest.raises(openai.ConflictError):
        await live.client.files.create(file=("x", b"x" * 90_000), purpose="batch")


@pytest.mark.parametrize("name", ["..%2Fkey", "file-none", "%2e%2e", "a" * 300])
async def test_no_id_leads_out_of_the_folder(live: Live, name: str) -> None:
    with pytest.raises(openai.NotFoundError):
        await live.client.get(f"/files/{name}/content", cast_to=object)
