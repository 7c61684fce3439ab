"""Tuning on a real server: people correct decisions, the mind learns their words, and it can be undone."""

from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import MakeServer
from tests.server.serving import Client, Server, eventually

OWN_WORDS = [
    "ledger",
    "invoices",
    "customers",
    "orders",
    "stock",
    "prices",
    "returns",
    "payments",
    "routes",
    "stores",
    "suppliers",
    "contracts",
    "claims",
    "meters",
    "visits",
    "parcels",
    "tickets",
    "shifts",
    "refunds",
    "budgets",
]
#: Work that, at this site, is done on GPUs, which nobody outside can know.
TEACHING = [f"nightly-{word} roll-up" for word in OWN_WORDS] + [f"nightly-{word} refresh" for word in OWN_WORDS]
UNSEEN = "nightly-warranties roll-up"


def correct(client: Client, description: str, device: str, **fields: Any) -> str:
    task = str(client.submit(description)["task_id"])
    client.request("PUT", f"/v1/tasks/{task}/correction", {"device": device} | fields).expect(200)
    return task


def tune(client: Client) -> Any:
    client.post("/v1/mind/tune").expect(202)
    return eventually(
        lambda: (found := client.get("/v1/mind/tune").expect(200))["state"] != "running" and found,
        "the end of the tuning",
        within_s=240,
    )


def decide(client: Client, description: str = UNSEEN) -> Any:
    decision = client.post("/v1/decisions", {"description": description}).expect(201)
    return {name: decision[name] for name in ("device", "device_probabilities", "task_kind", "models")}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that was taught forty texts and tuned, with the decision about an unseen text before that."""
    server = Server(tmp_path_factory.mktemp("taught") / "data").start()
    before = decide(server.client)
    for text in TEACHING:
        correct(server.client, text, "GPU", task_kind="training")
    yield server, before, tune(server.client)
    server.kill()


def tuned_name(decision: Any) -> list[str]:
    return [name for name, _ in decision["models"] if name.startswith("tuned mind")]


def test_a_mind_taught_the_words_of_this_site_decides_new_texts_as_people_here_would(taught: Any) -> None:
    server, before, found = taught

    assert before["device"] != "GPU"
    assert (found["state"], found["version"]) == ("kept", 1), found["because"]
    assert found["labels"] == {"correction": 40}
    assert found["judgement"]["held_out_after"]["right"] > found["judgement"]["held_out_before"]["right"]
    assert decide(server.client)["device"] == "GPU"
    assert decide(server.client)["task_kind"] == "training"


def test_an_explanation_names_the_version_that_took_part(taught: Any) -> None:
    server, *_ = taught
    task = server.client.submit(UNSEEN)

    text = server.client.get(f"/v1/tasks/{task['task_id']}/explanation").expect(200)["text"]

    assert "tuned mind 0001" in text


def test_the_version_stands_on_the_ledger_with_its_digest(taught: Any) -> None:
    server, *_ = taught
    digest = dict(decide(server.client)["models"])["tuned mind 0001"]

    def recorded() -> Any:
        entries = server.client.get("/v1/ledger/entries?limit=1000").expect(200)["entries"]
        return [entry["body"] for entry in entries if entry["subject"] == "tuned mind 0001"]

    assert eventually(recorded, "a sealed entry about the version") == [{"sha256": digest}]


def test_whoever_asks_for_the_models_hears_of_the_version_for_as_long_as_it_takes_part(taught: Any) -> None:
    server, *_ = taught
    digest = dict(decide(server.client)["models"])["tuned mind 0001"]

    def listed() -> list[str]:
        said = server.client.post("/v1/talk", {"text": "list the models"}).expect(200)
        assert not said["dropped"]
        return [line for line in said["text"].splitlines() if "tuned" in line]

    role = "adapts decisions to this installation"
    assert listed() == [f"- tuned mind 0001: {role} (its checksum begins {digest[:12]})"]
    server.client.post("/v1/mind/rollback", {}).expect(200)
    assert listed() == []
    server.client.post("/v1/mind/rollback", {"version": 1}).expect(200)
    assert len(listed()) == 1


def test_each_version_tells_what_it_reached_on_how_many_texts(taught: Any) -> None:
    server, _, found = taught
    shipped, tuned = server.client.get("/v1/mind/versions").expect(200)["versions"]
    after = found["judgement"]["held_out_after"]

    assert (shipped["hold_out"], shipped["made_at_unix_s"]) == (None, None)
    assert tuned["made_at_unix_s"] > 1.7e9
    assert tuned["hold_out"]["count"] == after["count"] >= 10
    assert tuned["hold_out"]["log_loss"]["after"] == after["log_loss"] < tuned["hold_out"]["log_loss"]["before"]
    assert tuned["hold_out"]["right"]["after"] == after["right"]


def test_going_back_restores_the_decision_to_the_last_digit_and_forward_again(taught: Any) -> None:
    server, before, _ = taught
    tuned = decide(server.client)

    assert server.client.post("/v1/mind/rollback", {}).expect(200) == {"version": 0}
    assert decide(server.client) == before
    server.client.post("/v1/mind/rollback", {}).expect(409)
    server.client.post("/v1/mind/rollback", {"version": 7}).expect(404)
    server.client.post("/v1/mind/rollback", {"version": 1}).expect(200)

    assert decide(server.client) == tuned


def test_a_version_is_used_after_a_restart_and_refused_once_its_file_was_changed(taught: Any) -> None:
    server, before, _ = taught
    tuned = decide(server.client)
    server.stop()
    again = Server(server.data_dir).start()
    assert decide(again.client) == tuned
    again.stop()
    adapter = Path(server.data_dir) / "mind" / "versions" / "0001" / "adapter.npz"
    whole = adapter.read_bytes()
    adapter.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])

    refusing = Server(server.data_dir).start()
    try:
        assert decide(refusing.client) == before
        assert any(
            "tuned mind 0001 does not take part" in line for line in refusing.client.get("/health").json["problems"]
        )
        noted = refusing.client.post("/v1/decisions", {"description": UNSEEN}).expect(201)["evidence"]["notes"]
        assert any("tuned mind 0001 does not take part" in note for note in noted)
    finally:
        refusing.kill()


def test_with_few_labels_it_says_how_many_more_are_needed_and_how_to_get_them(client: Client) -> None:
    task = correct(client, "sweep the corridor data", "DSP", priority=2)

    found = tune(client)

    assert found["state"] == "too_little"
    assert "1 description is labelled with the right device; 19 more, each of other work" in found["because"]
    assert "conductor tasks correct TASK --device" in found["next_step"]
    assert client.get(f"/v1/tasks/{task}/correction").expect(200)["priority"] == 2


def test_a_later_correction_replaces_the_earlier_one_and_can_be_taken_back(client: Client) -> None:
    task = correct(client, "label the crates", "NPU")
    client.request("PUT", f"/v1/tasks/{task}/correction", {"device": "GPU"}).expect(200)
    assert client.get(f"/v1/tasks/{task}/correction").expect(200)["device"] == "GPU"

    client.request("DELETE", f"/v1/tasks/{task}/correction").expect(200)

    client.get(f"/v1/tasks/{task}/correction").expect(404)


def test_parts_of_a_correction_that_are_not_named_stay_as_they_were_said(client: Client) -> None:
    task = client.submit("count the pallets")["task_id"]
    path = f"/v1/tasks/{task}/correction"
    client.request("PUT", path, {"task_kind": "training"}).expect(200)
    client.request("PUT", path, {"priority": 2}).expect(200)
    client.request("PUT", path, {"device": "DSP", "priority": None}).expect(200)

    found = client.get(path).expect(200)

    assert [found[name] for name in ("device", "task_kind", "priority")] == ["DSP", "training", 2]


def test_a_correction_that_says_nothing_is_refused_and_names_what_it_could_say(client: Client) -> None:
    task = client.submit("count the pallets")["task_id"]

    refused = client.request("PUT", f"/v1/tasks/{task}/correction", {"priority": None}).expect(422)

    assert all(word in refused["detail"] for word in ("device", "task_kind", "priority"))
    client.get(f"/v1/tasks/{task}/correction").expect(404)


def test_a_corrected_priority_counts_for_the_same_work_at_once_and_after_a_restart(make_server: MakeServer) -> None:
    server = make_server().start()
    task = server.client.submit("count the pallets in the yard")["task_id"]
    server.client.request("PUT", f"/v1/tasks/{task}/correction", {"priority": 1}).expect(200)

    def priorities(client: Client) -> list[int]:
        same, stated = {"description": "Count the pallets in the yard"}, {"metadata": {"priority": 4}}
        asked = (same, same | stated, {"description": "count the pallets in the yard. Set priority to 5."})
        return [client.post("/v1/decisions", one).expect(201)["priority"] for one in asked]

    assert priorities(server.client) == [1, 4, 3]
    server.stop()
    again = server.start()
    assert priorities(again.client) == [1, 4, 3]
    again.client.request("DELETE", f"/v1/tasks/{task}/correction").expect(200)
    assert priorities(again.client)[0] != 1


def test_only_who_has_the_key_may_teach(make_server: MakeServer) -> None:
    client = make_server("--no-key").start().stranger
    task = client.submit("label the crates")["task_id"]

    client.request("PUT", f"/v1/tasks/{task}/correction", {"device": "GPU"}).expect(403)
    client.post("/v1/mind/tune").expect(403)
    client.post("/v1/mind/rollback", {}).expect(403)
