"""Acceptance: twenty questions to a running server, and no number in a reply that the API does not return.

Nothing of our own verifier is used. Numbers are found with a pattern of this file; the numbers that may be said are
collected from the documents of the API, and from what this file counts and averages over the tasks listed there.
"""

import re
from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest
from tests.server.serving import Client, Server

QUESTIONS = [
    "What is the system status?",
    "What's the current system utilization?",
    "Why is the network running slow?",
    "Which device is best for video encoding?",
    "Which device is best for training a language model?",
    "Why did you choose this device for the last task?",
    "Which nodes are there?",
    "Which models do you use?",
    "How are my tasks doing?",
    "Why is everything so slow?",
    "What is the bottleneck?",
    "How many tasks failed?",
    "What is the throughput today?",
    "Is the sorting done?",
    "Schedule a job to compress the log archive",
    "run `echo hello`",
    "cancel the last task",
    "Wie ist der Status?",
    "¿Por qué va tan lento?",
    "What is the weather like?",
]
#: Thresholds of advice and the length of what is shown of a checksum are constants of the documentation.
DOCUMENTED = {85.0, 90.0, 80.0, 20.0}
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
UNITS = {
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "%": 0.01,
}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server with a history; its readings stand still, so that they are the same before and after a question."""
    settings: dict[str, object] = {"executor__workers": 2, "node__reading_interval_s": 600}
    server = Server(tmp_path_factory.mktemp("asked") / "data", settings=settings).start()
    client = server.client
    for description, argv in [
        ("Sort the customer list", ["true"]),
        ("Compress the backup archive", ["sleep", "0.2"]),
        ("Transcode the holiday film to H.264", ["sleep", "0.4"]),
        ("Check the disk for 37 errors", ["false"]),
    ]:
        workload = {"kind": "command", "spec": {"command": argv}}
        client.settled(client.submit(description, workload=workload, max_retries=0))
    client.submit("Wait for the delivery", workload={"kind": "command", "spec": {"command": ["sleep", "900"]}})
    yield client
    server.kill()


def numbers_in(value: Any) -> Iterator[float]:
    """Every number in a JSON document, those inside its texts too."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, str):
        yield from (float(found.replace(",", "")) for found in NUMBER.findall(value))
        for amount, unit in re.findall(r"(\d+(?:\.\d+)?) (ms|s|min|h|%|KiB|MiB|GiB|TiB)", value):
            yield float(amount) * UNITS[unit]
    elif isinstance(value, dict):
        for part in value.values():
            yield from numbers_in(part)
    else:
        for part in value:
            yield from numbers_in(part)


def counted(tasks: list[Any], nodes: list[Any]) -> Iterator[float]:
    """What can be counted and averaged over the listed tasks and nodes."""
    ended = [task for task in tasks if task["outcome"] and task["state"] in ("succeeded", "failed", "dead")]
    groups: dict[str, list[Any]] = {"": ended}
    for task in ended:
        decision = task["decision"]
        for name in (decision["available_device"], decision["task_kind"], task["outcome"]["node_id"]):
            groups.setdefault(name, []).append(task)
    for group in groups.values():
        failed = [task for task in group if task["state"] != "succeeded"]
        good = [task["outcome"]["duration_s"] for task in group if task["state"] == "succeeded"]
        yield from (len(group), len(failed), len(failed) / max(len(group), 1), len(group) - len(failed))
        yield from [median(good)] if good else []
    yield median(task["outcome"]["started_at_unix_s"] - task["submitted_at_unix_s"] for task in ended)
    for node in nodes:
        yield 1 - node["reading"]["free_memory_bytes"] / node["memory_bytes"]
        kinds = [device["type"] for device in node["devices"]]
        yield from (len(kinds), *(kinds.count(kind) for kind in kinds))
    yield from (len(nodes), 0.0, float(sum(not task["settled"] for task in tasks)))


def known_to(client: Client, reply: Any) -> list[float]:
    tasks = client.get("/v1/tasks?limit=1000").expect(200)["tasks"]
    nodes = client.get("/v1/nodes").expect(200)["nodes"]
    documents = [tasks, nodes, client.get("/health").expect(200), client.get("/v1/ledger").expect(200)["size"]]
    if reply["intent"] == "device_advice":  # what a decision about the same words says
        subject = re.search(r"For “(.*?)”", reply["text"])
        assert subject is not None
        documents.append(client.post("/v1/decisions", {"description": subject[1]}).expect(201))
    if reply["plan"] is not None:
        plan = reply["plan"]
        documents.append([plan["priority"], plan["duration_s"], plan["description"], plan["command"]])
        if plan["device"]:
            workload = {"kind": "command", "spec": {"command": plan["command"]}} if plan["command"] else None
            asked = {"description": plan["description"], "workload": workload}
            documents.append(client.post("/v1/decisions", asked).expect(201))
    return [*numbers_in(documents), *counted(tasks, nodes)]


def without_names(text: str, client: Client) -> str:
    """The reply without ids, host names, device names and checksums: these are no figures."""
    nodes = client.get("/v1/nodes").expect(200)["nodes"]
    names = [
        name for node in nodes for name in (node["node_id"], node["hostname"], *(d["name"] for d in node["devices"]))
    ]
    text = re.sub(r"\bt[0-9a-z]{18}\b|checksum begins [0-9a-f]{12}|conductor-encoder \S+|- \S+ [\d.]+:", " ", text)
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, " ")
    return text


def is_borne_out(said: str, unit: str, known: list[float]) -> bool:
    number, places = float(said.replace(",", "")), len(said.partition(".")[2])
    factor = UNITS.get(unit, 1.0)
    slack = 0.5 * 10**-places * factor * 1.0001
    return any(abs(value - number * factor) <= slack for value in known) or (unit == "%" and number in DOCUMENTED)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_number_in_a_reply_is_one_that_the_api_returns(lived: Client, question: str) -> None:
    reply = lived.post("/v1/talk", {"text": question}).expect(200)
    known = known_to(lived, reply)

    assert reply["dropped"] == []
    text = without_names(reply["text"], lived)
    for minutes, seconds in re.findall(r"(\d+) min (\d+) s", text):
        assert any(0 <= round(v) - int(minutes) * 60 - int(seconds) < 1 for v in known), f"{minutes} min {seconds} s"
    for hours, minutes in re.findall(r"(\d+) h (\d+) min", text):
        assert any(0 <= round(v) - int(hours) * 3600 - int(minutes) * 60 < 60 for v in known), f"{hours} h {minutes}"
    rest = re.sub(r"\d+ min \d+ s|\d+ h \d+ min", " ", text)
    for match in re.finditer(rf"({NUMBER.pattern})(?: ?(ms|s|min|h|%|KiB|MiB|GiB|TiB)\b| ?(%))?", rest):
        said, unit = match[1], match[2] or match[3] or ""
        assert is_borne_out(said, unit, known), f"{match[0]!r} in {reply['text']!r}"


def test_the_twenty_questions_cover_every_intent(lived: Client) -> None:
    said = {lived.post("/v1/talk", {"text": question}).expect(200)["intent"] for question in QUESTIONS}

    assert said == {
        "status", "device_advice", "explain_decision", "schedule_task", "performance_analysis", "cancel_task",
        "list_nodes", "list_models", "off_topic",
    }  # fmt: skip
