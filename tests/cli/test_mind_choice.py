"""Choosing a language model from the command line: when it counts, what is refused, and how one learns that it fails."""

from tests.cli.terminal import Terminal


def test_a_refused_model_is_not_said_to_be_set(alone: Terminal) -> None:
    said = alone.conductor("settings", "set", "mind.model", "foo")

    assert said.code == 2
    assert "mind.model cannot be 'foo': it names no kind of model" in said.err
    assert "is set" not in said.err


def test_a_password_in_an_address_is_not_repeated(alone: Terminal) -> None:
    said = alone.conductor("settings", "set", "mind.model", "http://user:hunter2@host/v1")

    assert said.code == 2
    assert "hunter2" not in said.out + said.err
    assert "'http://user:****@host/v1'" in said.err
    assert "CONDUCTOR_MIND__API_KEY" in said.err


def test_with_a_server_the_choice_counts_from_its_next_start_and_status_shows_both(served: Terminal) -> None:
    changed = served.conductor("settings", "set", "mind.model", "http://127.0.0.1:9/v1#m")
    try:
        shown, as_json = served.conductor("status"), served.conductor("status", "--json").json()
        listed = served.conductor("models", "list")
    finally:
        served.conductor("settings", "unset", "mind.model")

    assert "takes effect when the server is started again" in changed.out
    assert "Language model: conductor-mind " in shown.out
    assert "mind.model is http://127.0.0.1:9/v1#m" in " ".join(shown.out.split())
    assert "What to do: start the server again." in shown.out
    assert as_json["mind"]["configured"] == "http://127.0.0.1:9/v1#m"
    assert as_json["mind"]["in_effect"] == "conductor"
    assert as_json["mind"]["running"].startswith("conductor-mind ")
    assert "next start" in listed.out


def test_without_a_server_the_choice_counts_from_the_next_command(alone: Terminal) -> None:
    changed = alone.conductor("settings", "set", "mind.model", "http://127.0.0.1:9/v1#m")
    decided = alone.conductor("decide", "sort the names", "--json")
    listed = alone.conductor("models", "list", "--json").json()

    assert "takes effect with the next command or server" in changed.out
    assert decided.code == 0
    assert len(decided.json()["models"]) == 1
    remarks = " ".join(decided.err.split())
    assert "mind.model is http://127.0.0.1:9/v1#m, as `conductor settings set` stored it" in remarks
    assert "the language model does not take part: the endpoint http://127.0.0.1:9/v1 cannot be asked" in remarks
    assert (listed["mind"]["state"], listed["mind"]["running"]) == ("fails", "")
