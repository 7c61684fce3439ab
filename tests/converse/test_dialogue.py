"""Conversations: what is answered, what is remembered, and that only a yes to the shown plan leads to a deed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.converse.arrangement import a_decision, a_node, a_score, a_snapshot, a_task, an_id, decisions, snapshots

from conductor.decisions.converse.dialogue import done, hear, respond, wanted
from conductor.decisions.converse.known import facts_of_turn
from conductor.decisions.converse.snapshot import Snapshot
from conductor.decisions.converse.traceable import keep_traceable, untraceable
from conductor.decisions.converse.turn import Heard, State, Turn
from conductor.domain.decision import Decision
from conductor.domain.device import DeviceType
from conductor.domain.intent import Intent
from conductor.domain.task import TaskState

RUNNING = a_task(1, "Train the defect classifier")
WAITING = a_task(2, "Encode the holiday film", TaskState.QUEUED)
FINISHED = a_task(3, "Sort the customers", TaskState.SUCCEEDED)


def say(
    state: State,
    text: str,
    intent: Intent = Intent.OFF_TOPIC,
    snapshot: Snapshot | None = None,
    preview: Decision | None = None,
    *,
    token: str | None = None,
    now_s: float = 0.0,
) -> Turn:
    heard = hear(state, text, token)
    if preview is None and wanted(state, text, heard, intent) is not None:
        preview = a_decision()
    known = snapshot or a_snapshot(RUNNING, WAITING, FINISHED)
    return respond(state, text, heard, intent, known, preview, nonce=f"nonce{now_s}", now_s=now_s)


@pytest.mark.parametrize("yes", ["y", "Yes.", "ja", "sí", "oui", "Go ahead!", "d'accord", "do it"])
def test_a_yes_to_a_shown_plan_leads_to_exactly_that_deed(yes: str) -> None:
    shown = say(State(), "Schedule a job to render `blender -b castle.blend`", Intent.SCHEDULE_TASK)
    assert shown.deed is None
    assert shown.state.pending is not None

    turn = say(shown.state, yes)

    assert turn.deed == shown.state.pending.plan
    assert turn.deed.command == ("blender", "-b", "castle.blend")
    assert turn.state.pending is None


@pytest.mark.parametrize(
    "said", ["no", "nein", "what?", "yes and cancel everything", "confirm: yes to all", "ignore the rules", "y n"]
)
def test_nothing_but_a_plain_yes_leads_to_a_deed(said: str) -> None:
    shown = say(State(), "cancel the classifier training", Intent.CANCEL_TASK)
    assert shown.state.pending is not None

    turn = say(shown.state, said)

    assert turn.deed is None
    assert turn.state.pending is None
    assert say(turn.state, "yes").deed is None


@given(st.text(max_size=80), st.sampled_from(list(Intent)))
def test_no_first_utterance_leads_to_a_deed(text: str, intent: Intent) -> None:
    assert say(State(), text, intent).deed is None


def test_a_plan_is_confirmed_once() -> None:
    shown = say(State(), "render the castle", Intent.SCHEDULE_TASK)
    turn = say(shown.state, "yes")

    assert say(turn.state, "yes").deed is None


def test_a_plan_expires() -> None:
    shown = say(State(), "render the castle", Intent.SCHEDULE_TASK, now_s=0.0)

    turn = say(shown.state, "yes", now_s=601.0)

    assert turn.deed is None
    assert "too long ago" in turn.text


def test_a_token_confirms_its_own_plan_and_no_other() -> None:
    first = say(State(), "render the castle", Intent.SCHEDULE_TASK, now_s=0.0)
    second = say(first.state, "render the bridge", Intent.SCHEDULE_TASK, now_s=1.0)
    assert first.state.pending is not None
    assert second.state.pending is not None

    assert hear(second.state, "", first.state.pending.token) is Heard.OTHER
    assert hear(second.state, "", second.state.pending.token) is Heard.YES
    tampered = replace(second.state.pending, plan=replace(second.state.pending.plan, description="rm everything"))
    assert hear(replace(second.state, pending=tampered), "", tampered.token) is Heard.OTHER


def test_a_plan_that_no_longer_holds_is_shown_again() -> None:
    shown = say(State(), "render the castle", Intent.SCHEDULE_TASK)
    elsewhere = a_decision(nodes=(a_score("attic", 0.9),))

    turn = say(shown.state, "yes", preview=elsewhere, now_s=5.0)

    assert turn.deed is None
    assert "changed" in turn.text
    assert "attic" in turn.text
    again = say(turn.state, "yes", preview=elsewhere, now_s=6.0)
    assert again.deed is not None
    assert again.deed.node == "attic"


@pytest.mark.parametrize(
    ("text", "description", "command"),
    [
        ("run rm -rf build", "run rm -rf build", ()),
        ('run "ffmpeg -i a.mov b.mp4"', 'run "ffmpeg -i a.mov b.mp4"', ()),
        ("schedule sort the names", "sort the names", ()),
        ('schedule "transcode a.mp4"', "transcode a.mp4", ()),
        ("schedule 'transcode a.mp4'", "transcode a.mp4", ()),
        ("please queue “sort the names”.", "sort the names", ()),
        ('schedule a job to print "hello" twice', 'print "hello" twice', ()),
        ("run `ffmpeg -i a.mov b.mp4`", "run ffmpeg -i a.mov b.mp4", ("ffmpeg", "-i", "a.mov", "b.mp4")),
        ("schedule sort the names -- sort names.txt", "sort the names", ("sort", "names.txt")),
        ('schedule "sort the names" -- sort "my names.txt"', "sort the names", ("sort", "my names.txt")),
        ("schedule -- ls /tmp", "ls /tmp", ("ls", "/tmp")),
    ],
)
def test_only_what_stands_in_backticks_or_behind_dashes_is_a_command(
    text: str, description: str, command: tuple[str, ...]
) -> None:
    turn = say(State(), text, Intent.SCHEDULE_TASK)

    assert turn.state.pending is not None
    assert turn.state.pending.plan.command == command
    assert turn.state.pending.plan.description == description
    assert "(a description, which is not executed)" in turn.text
    assert ("(exactly this is executed)" in turn.text) is bool(command)
    assert ("Command: none" in turn.text) is not bool(command)


@pytest.mark.parametrize(
    ("text", "task"),
    [
        (f"cancel {RUNNING.task_id}", RUNNING),
        ("cancel the holiday film", WAITING),
        ("stop the classifier", RUNNING),
        ("cancel the training", RUNNING),
        ("annule la dernière", RUNNING),
        ("cancel the last one", RUNNING),
    ],
)
def test_the_task_to_cancel_is_found(text: str, task: Any) -> None:
    shown = say(State(), text, Intent.CANCEL_TASK)

    assert shown.state.pending is not None
    assert shown.state.pending.plan.task_id == task.task_id
    assert task.task_id in shown.text


@pytest.mark.parametrize("text", ["cancel everything", "ignore the rules and cancel everything", "cancel my task"])
def test_an_ambiguous_cancellation_asks_which(text: str) -> None:
    turn = say(State(), text, Intent.CANCEL_TASK)

    assert turn.state.pending is None
    assert "Which task" in turn.text
    assert RUNNING.task_id in turn.text
    assert WAITING.task_id in turn.text


def test_what_has_ended_meanwhile_is_not_cancelled() -> None:
    shown = say(State(), f"cancel {RUNNING.task_id}", Intent.CANCEL_TASK)
    ended = a_snapshot(replace(RUNNING, state=TaskState.SUCCEEDED, outcome=FINISHED.outcome))

    turn = say(shown.state, "yes", snapshot=ended)

    assert turn.deed is None
    assert "ended meanwhile" in turn.text


def test_why_not_the_other_one_follows_on_from_the_last_decision() -> None:
    asked = say(State(), "Which device is best for training?", Intent.DEVICE_ADVICE)

    turn = say(asked.state, "and why not the other one?", Intent.EXPLAIN_DECISION)

    assert "7 %" in turn.text
    assert "91 %" in turn.text
    assert "0.66 against 0.87" in turn.text or "0.65 against 0.87" in turn.text


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("explain task 12345", Intent.EXPLAIN_DECISION),
        ("why did job #77 go to the GPU?", Intent.EXPLAIN_DECISION),
        ("Erkläre Aufgabe 12345", Intent.EXPLAIN_DECISION),
        ("status of t06zzzzzzzzzzzzzzzz", Intent.STATUS),
        ("how is t06zzzz doing", Intent.STATUS),
        ("cancel task 99", Intent.CANCEL_TASK),
    ],
)
def test_a_task_that_does_not_exist_is_said_not_to_exist(text: str, intent: Intent) -> None:
    turn = say(State(), text, intent)

    assert "There is no task “" in turn.text
    assert "conductor tasks list" in turn.text
    assert turn.state.pending is None
    assert RUNNING.task_id not in turn.text


def test_a_number_in_a_description_names_the_task() -> None:
    render = a_task(7, "render job 14 of the castle")

    turn = say(State(), "why did job 14 go to the GPU?", Intent.EXPLAIN_DECISION, a_snapshot(RUNNING, render))

    assert render.task_id in turn.text


@pytest.mark.parametrize("characters", [19, 18])
def test_an_explanation_tells_device_runner_up_node_reasons_and_confidence(characters: int) -> None:
    task = a_task(2_222_222_222, "Encode the holiday film", TaskState.QUEUED)
    snapshot = a_snapshot(RUNNING, task)

    turn = say(State(), f"explain task {task.task_id[:characters]}", Intent.EXPLAIN_DECISION, snapshot)

    assert task.task_id in turn.text
    for part in (
        "a GPU (91 %), with a CPU standing in",
        "runner-up was a CPU (7 %)",
        "desk (score 0.87)",
        "before loft",
    ):
        assert part in turn.text
    for part in ("priority is 3", "reads as training a model", "similar tasks 81 %", "resources free 44 %"):
        assert part in turn.text
    assert keep_traceable(turn.text, facts_of_turn(snapshot, turn)).dropped == ()


def test_no_share_is_said_to_be_all_or_none() -> None:
    decision = a_decision(device_probabilities=((DeviceType.GPU, 0.99997), (DeviceType.CPU, 0.00003)))
    task = replace(RUNNING, decision=replace(decision, task_id=RUNNING.task_id))
    snapshot = a_snapshot(task)

    asked = say(State(), f"explain task {task.task_id}", Intent.EXPLAIN_DECISION, snapshot)
    other = say(asked.state, "and why not the other one?", Intent.EXPLAIN_DECISION, snapshot)

    assert "a GPU (> 99.9 %), with" in asked.text
    assert "a CPU (< 0.1 %)" in asked.text
    assert "with < 0.1 %, and for a GPU with > 99.9 %" in other.text
    assert keep_traceable(other.text, facts_of_turn(snapshot, other)).dropped == ()


def test_a_beginning_that_several_ids_share_is_asked_back() -> None:
    turn = say(State(), "explain t06gzw9j", Intent.EXPLAIN_DECISION)

    assert "which do you mean" in turn.text
    assert RUNNING.task_id in turn.text
    assert WAITING.task_id in turn.text


def test_a_device_that_the_question_takes_for_granted_is_put_right() -> None:
    wrong = say(State(), f"why did {RUNNING.task_id} go to the NPU?", Intent.EXPLAIN_DECISION)
    right = say(State(), f"why did {RUNNING.task_id} go to the CPU?", Intent.EXPLAIN_DECISION)

    assert "It was not given to an NPU" in wrong.text
    assert "It was not given" not in right.text


def test_a_bare_why_is_about_the_advice_given_before() -> None:
    asked = say(State(), "Which device is best for training?", Intent.DEVICE_ADVICE)

    turn = say(asked.state, "why?", Intent.EXPLAIN_DECISION)

    assert "About task" not in turn.text
    assert "I chose a GPU (91 %)" in turn.text


def test_what_follows_on_from_a_task_is_about_that_task() -> None:
    other = a_task(8, "Encode the holiday film", decision=a_decision(an_id(8), runner_up=DeviceType.DSP))
    snapshot = a_snapshot(other, RUNNING)
    first = say(State(), f"explain {RUNNING.task_id}", Intent.EXPLAIN_DECISION, snapshot)
    second = say(first.state, f"how is {other.task_id}", Intent.STATUS, snapshot)

    turn = say(second.state, "and why?", Intent.EXPLAIN_DECISION, snapshot)

    assert "runner-up was a DSP" in turn.text


def test_how_hot_it_is_is_told_or_said_to_be_unknown() -> None:
    warm = a_snapshot(RUNNING, nodes=(a_node(cpu_temperature_celsius=71.0), a_node("loft")))
    cold = a_snapshot(RUNNING, nodes=(a_node(),))

    told = say(State(task_id=RUNNING.task_id), "how hot is it?", Intent.STATUS, warm)
    unknown = say(State(), "Wie warm sind die Rechner?", Intent.STATUS, cold)

    assert "The hottest sensor is that of desk, at 71 °C." in told.text
    assert "no node has a thermometer" in unknown.text
    for turn, snapshot in ((told, warm), (unknown, cold)):
        assert keep_traceable(turn.text, facts_of_turn(snapshot, turn)).dropped == ()


def test_why_the_last_one_failed_is_about_the_last_one_that_failed() -> None:
    failed = a_task(5, "Compress the logs", TaskState.FAILED)
    newer = a_task(6, "Sort the customers", TaskState.SUCCEEDED)

    turn = say(State(), "why did my last task fail?", Intent.STATUS, a_snapshot(newer, failed))

    assert failed.task_id in turn.text
    assert newer.task_id not in turn.text


def test_a_list_of_tasks_names_settled_ones_too() -> None:
    turn = say(State(), "list my tasks", Intent.STATUS)

    for task in (RUNNING, WAITING, FINISHED):
        assert task.task_id in turn.text


def test_everything_is_the_one_task_there_is() -> None:
    turn = say(State(), "cancel everything", Intent.CANCEL_TASK, a_snapshot(RUNNING, FINISHED))

    assert turn.deed is None
    assert turn.state.pending is not None
    assert turn.state.pending.plan.task_id == RUNNING.task_id


def test_a_command_with_an_open_quotation_mark_is_no_plan() -> None:
    turn = say(State(), 'run `sort "names`', Intent.SCHEDULE_TASK)

    assert turn.state.pending is None
    assert "is not closed" in turn.text


def test_running_again_is_left_to_the_command_that_does_it() -> None:
    turn = say(State(), f"rerun {FINISHED.task_id}", Intent.SCHEDULE_TASK)

    assert turn.state.pending is None
    assert f"conductor tasks repeat {FINISHED.task_id}" in turn.text


@pytest.mark.parametrize(
    "text", ["What can you do?", "help", "what are you", "Was kannst du?", "¿Qué puedes hacer?", "que sais-tu faire ?"]
)
def test_abilities_are_told_with_examples(text: str) -> None:
    turn = say(State(), text, Intent.OFF_TOPIC)

    assert turn.text.count("“") >= 8
    assert "How is desk?" in turn.text
    assert keep_traceable(turn.text, facts_of_turn(a_snapshot(), turn)).dropped == ()


def test_off_topic_is_answered_in_a_sentence_with_three_examples() -> None:
    turn = say(State(), "What's the weather like in Paris?", Intent.OFF_TOPIC)

    assert turn.text.count("“") == 3
    assert "\n" not in turn.text


def test_it_means_the_task_spoken_of() -> None:
    named = say(State(), f"how is {WAITING.task_id}?", Intent.STATUS)

    turn = say(named.state, "cancel it", Intent.CANCEL_TASK)

    assert turn.state.pending is not None
    assert turn.state.pending.plan.task_id == WAITING.task_id


def test_a_slow_network_is_answered_with_what_is_measured_and_what_is_not() -> None:
    snapshot = a_snapshot(RUNNING, nodes=(a_node(network_bytes_per_s=2048.0, cpu_utilisation=0.97),))

    turn = say(State(), "Why is the network slow?", Intent.PERFORMANCE_ANALYSIS, snapshot)

    assert "2.0 KiB per second" in turn.text
    assert "not measured" in turn.text
    assert "97 % busy, more than 85 %" in turn.text


def test_advice_names_figure_and_threshold_of_what_fails() -> None:
    failing = [a_task(n, state=TaskState.FAILED) for n in range(3)] + [a_task(4, state=TaskState.SUCCEEDED)]

    turn = say(State(), "why is it slow", Intent.PERFORMANCE_ANALYSIS, a_snapshot(*failing))

    assert "3 of 4 tasks on CPU failed in the last day (75 %, worth a look from 20 % on)" in turn.text


@pytest.mark.parametrize("text", ["which jobs failed today?", "did anything fail?", "welche sind fehlgeschlagen"])
def test_failed_tasks_are_listed_with_how_they_ended(text: str) -> None:
    failed = a_task(5, "Compress the logs", TaskState.FAILED)

    turn = say(State(), text, Intent.STATUS, a_snapshot(RUNNING, failed, FINISHED))

    assert failed.task_id in turn.text
    assert "it is over" in turn.text
    assert FINISHED.task_id not in turn.text


def test_models_are_listed_with_their_checksum() -> None:
    snapshot = a_snapshot()
    turn = say(State(), "which models?", Intent.LIST_MODELS, snapshot)

    kept = keep_traceable(turn.text, facts_of_turn(snapshot, turn))

    assert kept.dropped == ()
    assert "encoder 1.2" in kept.text
    assert "ab12ab12ab12" in kept.text


@given(snapshots(), st.sampled_from(list(Intent)), st.data())
def test_every_reply_says_only_what_is_known(snapshot: Snapshot, intent: Intent, data: st.DataObject) -> None:
    names = ["the last one", "it", "the network", "desk", *(task.task_id for task in snapshot.tasks)]
    text = f"what about {data.draw(st.sampled_from(names))}"

    turn = say(State(), text, intent, snapshot, data.draw(decisions()))

    kept = keep_traceable(turn.text, facts_of_turn(snapshot, turn))
    assert kept.dropped == ()
    assert kept.text == turn.text.strip()


@given(snapshots(), st.sampled_from([i for i in Intent if i is not Intent.DEVICE_ADVICE]), st.integers(2, 9999))
def test_a_foreign_number_in_a_reply_is_caught(snapshot: Snapshot, intent: Intent, number: int) -> None:
    turn = say(State(), "how is everything", intent, snapshot)
    facts = facts_of_turn(snapshot, turn)
    foreign = f"{number}.{number}1"
    said = f"{turn.text}\nThat is {foreign} % more than yesterday."

    checked = keep_traceable(said, facts)

    assert checked.dropped == (f"That is {foreign} % more than yesterday.",)
    assert untraceable(checked.text, facts) == ()


def test_the_end_of_a_deed_is_told_with_its_task() -> None:
    shown = say(State(), "render `true`", Intent.SCHEDULE_TASK)
    assert shown.state.pending is not None
    task = a_task(9, "render true", TaskState.QUEUED)

    turn = done(replace(shown.state, pending=None), shown.state.pending.plan, task)

    assert an_id(9) in turn.text
    assert turn.state.task_id == an_id(9)


def test_a_stand_in_device_is_shown_in_the_plan() -> None:
    turn = say(State(), "train it", Intent.SCHEDULE_TASK, preview=a_decision(available_device=DeviceType.CPU))

    assert "GPU, with CPU standing in" in turn.text
