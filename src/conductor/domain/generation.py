"""What a model is asked to write and what comes back, the same for every backend and every face.

A request is either a conversation (`messages`, put into the model's own form by its chat template) or plain text
(`prompt`, taken as it is). What comes back is a sequence of pieces, as they are made; the last one says how it ended.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from conductor.domain.json import JsonObject


class Role(StrEnum):
    """Who speaks in a conversation."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may ask the caller to call.

    Args:
        parameters: JSON Schema of its arguments, an object.
    """

    name: str
    description: str = ""
    parameters: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model's wish to have a tool called; `arguments` is JSON text, as the protocol has it."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture in a turn. Nothing here fetches it or looks into it.

    Args:
        url: `data:image/png;base64,…`, or an address (http, https) that whoever runs the model fetches.
        detail: how closely it is looked at, `auto`, `low` or `high`; empty leaves it to the model.
    """

    url: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn. `tool_call_id` names the call that a tool's turn answers.

    Args:
        content: its text.
        parts: text and pictures in their order, where it holds pictures; `content` is the text among them then. Empty
            where there is nothing but text.
    """

    role: Role
    content: str = ""
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    parts: tuple[str | Picture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen and when it ends.

    Args:
        max_tokens: of the answer; None up to the end of the context.
        temperature: 0 takes the likeliest token, always.
        top_p: the smallest set of tokens with this much probability is drawn from.
        repetition_penalty: divides the scores of tokens that were already used; 1 does nothing.
        frequency_penalty, presence_penalty: taken off a token's score each time, and once, it was written (-2 to 2), as the
            OpenAI API has them; llama.cpp counts the prompt in.
        seed: the same seed gives the same answer on the same backend, device and precision; None draws one.
        stop: texts that end the answer and are not part of it; at most four.
        top_scores: how many alternatives are told with each token's log probability; None tells none.
    """

    max_tokens: int | None = None
    temperature: float = 0.7
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_scores: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One request to one model.

    Args:
        messages: the conversation; empty where `prompt` is used.
        prompt: plain text to go on with; with `suffix`, the text is filled in between the two.
        form: JSON Schema that the answer must satisfy; nothing else can be written then.
        tools: what the model may ask for; `tool_choice` is `auto`, `none`, `required` or a tool's name.
        languages: FLORES-200 codes of what `prompt` is written in and what it is translated into, for models that are
            told languages by codes (NLLB); a backend that cannot do that refuses.
    """

    messages: tuple[Message, ...] = ()
    prompt: str = ""
    suffix: str = ""
    sampling: Sampling = Sampling()
    form: JsonObject | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    languages: tuple[str, str] | None = None


class Finish(StrEnum):
    """Why an answer ended, in the protocol's words."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens read and written.

    Args:
        cached_tokens: of those read, still known from before.
        reasoning_tokens: of those written, thoughts; 0 where nobody says.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token's natural log probability, and the likeliest tokens in its place, best first."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What was written since the last piece. The last one has `finish` and `usage`, and may have no text.

    `text` is always whole characters: a backend holds back the bytes of half a character, and whatever may yet become a
    stop text.

    Args:
        reasoning: what the model thought before it answered, where its backend tells the two apart; no part of `text`.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    scores: tuple[TokenScore, ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    reasoning: str = ""
