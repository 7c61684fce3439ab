"""The official `openai` client against a live server: a model elsewhere, and one that runs here."""

import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from tests.clients.stand import LOCAL, RUNS_MODELS, WHY_NOT
from tests.server.serving import Server, eventually

import openai
from openai import OpenAI

HELLO: Any = [{"role": "user", "content": "Say hello"}]
HEARD = "I heard: Say hello"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town",
        "parameters": {
            "type": "object",
            "properties": {"town": {"enum": ["Ulm", "Bern"]}},
            "required": ["town"],
            "additionalProperties": False,
        },
    },
}
needs_local = pytest.mark.skipif(not RUNS_MODELS, reason=WHY_NOT)


class Verdict(BaseModel):
    """What a model is made to write."""

    good: bool
    grade: Literal["a", "b"]


def test_a_model_elsewhere_answers_in_its_own_words(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="Steady", messages=HELLO)
    answer = raw.parse()

    assert raw.headers["x-conductor-upstream"].endswith("#steady")
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (HEARD, "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 4, 6)


def test_a_stream_is_the_whole_answer_in_pieces_with_its_usage(client: OpenAI, model: str) -> None:
    how: Any = {"model": model, "messages": HELLO, "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**how)
    chunks = list(client.chat.completions.create(**how, stream=True, stream_options={"include_usage": True}))

    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert text
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == [
        whole.choices[0].finish_reason
    ]
    told, known = chunks[-1].usage, whole.usage
    assert told is not None
    assert known is not None
    assert (told.prompt_tokens, told.completion_tokens) == (known.prompt_tokens, known.completion_tokens)
    assert 0 < known.completion_tokens <= 12


def test_a_tool_is_called_and_its_answer_is_heard(client: OpenAI, model: str) -> None:
    asked = client.chat.completions.create(
        model=model, messages=HELLO, tools=[WEATHER], tool_choice="required", max_tokens=200
    )
    message = asked.choices[0].message
    assert message.tool_calls is not None
    call: Any = message.tool_calls[0]
    assert (asked.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    assert json.loads(call.function.arguments) in ({"town": "Ulm"}, {"town": "Bern"})

    said = [*HELLO, message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "it rains"}]
    heard = client.chat.completions.create(model=model, messages=said, tools=[WEATHER], max_tokens=20)

    assert heard.choices[0].message.content is not None
    if model != LOCAL:  # a random model says anything
        assert heard.choices[0].message.content == "I heard: it rains"


def test_streamed_calls_of_tools_add_up(client: OpenAI, model: str) -> None:
    with client.chat.completions.stream(
        model=model, messages=HELLO, tools=[WEATHER], tool_choice="required", max_tokens=200
    ) as stream:
        choice = stream.get_final_completion().choices[0]

    assert choice.finish_reason == "tool_calls"
    assert json.loads((choice.message.tool_calls or [])[0].function.arguments)["town"] in ("Ulm", "Bern")


def test_an_answer_keeps_to_a_form(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.parse(model=model, messages=HELLO, response_format=Verdict, max_tokens=100)

    assert isinstance(answer.choices[0].message.parsed, Verdict)


@pytest.mark.parametrize("name", ["Vectors", pytest.param(LOCAL, marks=needs_local)])
def test_texts_become_vectors(client: OpenAI, name: str) -> None:
    texts = ["the river runs", "the river runs to the sea", "{}"]
    by_default = client.embeddings.create(model=name, input=texts)  # the client asks for base64
    plain = client.embeddings.create(model=name, input=texts, encoding_format="float")

    for one, other in zip(by_default.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert math.hypot(*one.embedding) == pytest.approx(1, abs=1e-5)
    river, sea, braces = (one.embedding for one in plain.data)
    assert likeness(river, sea) > likeness(river, braces)
    assert by_default.usage.total_tokens > 0


def likeness(one: list[float], other: list[float]) -> float:
    return sum(here * there for here, there in zip(one, other, strict=True))


def test_a_text_is_gone_on_with(client: OpenAI, model: str) -> None:
    whole = client.completions.create(model=model, prompt="The river", max_tokens=8, temperature=0)
    pieces = client.completions.create(model=model, prompt="The river", max_tokens=8, temperature=0, stream=True)

    assert "".join(chunk.choices[0].text for chunk in pieces if chunk.choices) == whole.choices[0].text
    if model != LOCAL:
        assert whole.choices[0].text == " goes on after The river"


def test_a_gap_is_filled(client: OpenAI, model: str) -> None:
    filled = client.completions.create(model=model, prompt="def f(", suffix="return 1", max_tokens=8, temperature=0)

    assert filled.choices[0].text
    if model != LOCAL:
        assert filled.choices[0].text == " and so on until return 1"


@needs_local
def test_a_model_here_scores_its_tokens_and_repeats_a_seed(client: OpenAI) -> None:
    how: Any = {"model": LOCAL, "messages": HELLO, "max_tokens": 6, "temperature": 1.0, "seed": 11}
    first = client.chat.completions.create(**how, n=2, logprobs=True, top_logprobs=2)
    again = client.chat.completions.create(**how, n=2)

    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert texts[0] != texts[1], "each answer has a seed of its own"
    assert first.choices[0].logprobs is not None
    for score in first.choices[0].logprobs.content or ():
        assert score.logprob <= 0
        assert len(score.top_logprobs) == 2


def test_auto_says_who_answers_and_why(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO, max_tokens=20)

    assert raw.headers["X-Conductor-Category"]
    assert raw.headers["X-Conductor-Why"]
    assert raw.parse().model == raw.headers["X-Conductor-Model"]


def test_models_are_listed_and_shown(client: OpenAI, served: Server) -> None:
    names = [one.id for one in client.models.list()]

    assert names[:3] == ["auto", "conversational_chat", "general_reasoning"]
    assert client.models.retrieve("embeddings").owned_by == "conductor"
    assert {row["title"] for row in served.client.get("/models").expect(200)["models"]} >= {"Steady", "Vectors"}


def test_a_batch_answers_every_line_of_a_file(client: OpenAI, model: str, tmp_path: Path) -> None:
    def line(name: str, wanted: str) -> str:
        body = {"model": wanted, "messages": HELLO, "max_tokens": 8}
        return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body})

    written = tmp_path / "in.jsonl"
    written.write_text("\n".join([line("a", model), line("b", "nobody"), line("c", model)]))
    with written.open("rb") as file:
        sent = client.files.create(file=file, purpose="batch")
    begun = client.batches.create(input_file_id=sent.id, endpoint="/v1/chat/completions", completion_window="24h")
    endings = ("completed", "failed", "cancelled", "expired")
    batch: Any = eventually(
        lambda: now if (now := client.batches.retrieve(begun.id)).status in endings else None, "the batch has ended"
    )

    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 2, 1)
    good = {entry["custom_id"]: entry for entry in _lines(client, batch.output_file_id)}
    (bad,) = _lines(client, batch.error_file_id)
    assert sorted(good) == ["a", "c"]
    if model != LOCAL:
        heard = good["a"]["response"]["body"]["choices"][0]["message"]["content"]
        assert heard.endswith(HEARD)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("b", 404)
    assert batch.id in [one.id for one in client.batches.list()]
    assert sent.id in [one.id for one in client.files.list(purpose="batch")]
    client.files.delete(sent.id)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(sent.id)


def _lines(client: OpenAI, file_id: str | None) -> list[Any]:
    assert file_id is not None
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def test_a_wrong_key_is_told_as_such(served: Server) -> None:
    with (
        OpenAI(base_url=f"{served.url}/v1", api_key="sk-wrong") as stranger,
        pytest.raises(openai.AuthenticationError) as told,
    ):
        stranger.chat.completions.create(model="Steady", messages=HELLO)

    assert "key" in told.value.message


@pytest.mark.parametrize("name", ["nobody", "Steady "])
def test_a_model_that_does_not_exist_is_told_as_such(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as told:
        client.chat.completions.create(model=name, messages=HELLO)

    assert (told.value.code, told.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(name)


def test_a_request_that_makes_no_sense_is_told_as_such(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        client.chat.completions.create(model=model, messages=[])

    assert (told.value.param, told.value.type) == ("messages", "invalid_request_error")


@needs_local
@pytest.mark.parametrize(("changes", "code", "param"), [
    ({"messages": [{"role": "user", "content": "river " * 2000}]}, "context_length_exceeded", "messages"),
    ({"max_tokens": 1_000_000}, "context_length_exceeded", "max_tokens"),
    ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    ({"temperature": 9}, "invalid_value", "temperature"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
     "invalid_value", "response_format.json_schema.schema/type"),
])  # fmt: skip
def test_what_a_model_here_cannot_do_is_told_as_such(
    client: OpenAI, changes: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        client.chat.completions.create(**{"model": LOCAL, "messages": HELLO} | changes)

    assert (told.value.code, told.value.param) == (code, param)


@pytest.mark.parametrize(("misfortune", "kind", "code"), [
    ("fail 400", openai.BadRequestError, None),
    ("fail 429", openai.RateLimitError, "model.busy"),
    ("fail 500", openai.InternalServerError, "model.endpoint"),
    ("fail garbage", openai.InternalServerError, "model.endpoint"),
    ("fail cut", openai.InternalServerError, "model.endpoint"),
])  # fmt: skip
def test_a_model_elsewhere_that_fails_is_told_as_such(
    client: OpenAI, served: Server, misfortune: str, kind: type[openai.APIStatusError], code: str | None
) -> None:
    _rested(served)
    with pytest.raises(kind) as told:
        client.with_options(max_retries=0).chat.completions.create(
            model="Unlucky", messages=[{"role": "user", "content": misfortune}]
        )

    assert told.value.code == code
    _rested(served)
    answer = client.chat.completions.create(model="Unlucky", messages=HELLO)
    assert answer.choices[0].message.content == HEARD, "one failure must not stay"


def test_a_stream_that_breaks_off_elsewhere_ends_with_an_error(client: OpenAI, served: Server) -> None:
    _rested(served)
    stream = client.chat.completions.create(
        model="Unlucky", messages=[{"role": "user", "content": "fail cut"}], stream=True
    )

    with pytest.raises(openai.APIError) as told:
        list(stream)
    assert "broke off" in told.value.message


def _rested(server: Server) -> None:
    """Wait until the unlucky upstream may be asked again."""

    def rests() -> float:
        upstreams = server.client.get("/stats").expect(200)["gateway"]["upstreams"]
        return float(upstreams["Unlucky"][0]["rests_for_s"])

    eventually(lambda: rests() == 0, "the upstream may be asked again")
