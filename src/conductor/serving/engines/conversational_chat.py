"""Chat: the persona speaks, sessions remember, and what no longer fits the context is left out in whole turns.

The persona is the operator's text (`SETTINGS.md`); what users say stays in their own messages. A caller that keeps the
conversation itself (an OpenAI client) hands it in as `history`, and may begin it with a system message of its own, which
then stands in the persona's place.

Not covered: summaries of what was left out.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation, Message, Piece, Role, Sampling, Tool, ToolCall
from conductor.domain.json import JsonObject
from conductor.domain.model import Category
from conductor.serving.engine import Answer, Engine, EngineOptions, ModelDesk
from conductor.serving.generations import Hearing
from conductor.serving.ports import Runner, RunnerFacts
from conductor.serving.sessions import Sessions
from conductor.serving.texts.thoughts import thoughts_apart
from conductor.serving.texts.trimming import Trimmed, prompt_room, trimmed_conversation

_PLAIN_PERSONA: Final = (
    "You are a helpful assistant. Answer directly and in the user's language. Say so when you do not know something."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions(EngineOptions):
    """How a chat is led.

    Args:
        session_id: of a session begun before; with `remember`, empty begins one.
        remember: keep this turn for the next one; the session's id is in `facts`.
        owner: whose sessions; set by the face, never by the caller.
        history: the conversation so far, for callers that keep it themselves; not together with a session.
        tools, tool_choice, form: as `Generation` has them.
    """

    session_id: str = ""
    remember: bool = False
    owner: str = ""
    history: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    form: JsonObject | None = None


class ConversationalChat(Engine[ChatOptions]):
    """Leads conversations.

    Args:
        sessions: where conversations are remembered; None remembers none.
    """

    category = Category("conversational_chat")
    purpose = "Talks: remembers the conversation, keeps to the persona, and says what no longer fitted the context."
    options_type = ChatOptions
    sampling: ClassVar[Sampling] = Sampling(temperature=0.7, top_p=0.95)

    def __init__(self, desk: ModelDesk, *, persona: str = "", sessions: Sessions | None = None) -> None:
        super().__init__(desk, persona=persona)
        self._sessions = sessions

    def system_prompt(self, options: ChatOptions) -> str:
        """The operator's persona; nothing where the caller brought a system message."""
        if any(message.role is Role.SYSTEM for message in options.history):
            return ""
        return self.persona.strip() or _PLAIN_PERSONA

    def repeats(self, options: ChatOptions) -> bool:
        """Not within a session, which is another one after each turn."""
        return super().repeats(options) and not (options.session_id or options.remember)

    def ask(self, prompt: str, options: ChatOptions, facts: RunnerFacts) -> Generation:
        """The whole conversation, untrimmed."""
        if not prompt.strip() and not (options.history and options.history[-1].role in (Role.USER, Role.TOOL)):
            raise InvalidInput("nothing was said; prompt needs some text", field="prompt")
        system = self.system_prompt(options)
        messages = [Message(role=Role.SYSTEM, content=system)] if system else []
        messages += options.history
        if prompt.strip():
            messages.append(Message(role=Role.USER, content=prompt))
        return Generation(
            messages=tuple(messages),
            sampling=options.sampling or self.sampling,
            tools=options.tools,
            tool_choice=options.tool_choice,
            form=options.form,
        )

    def conclude(self, prompt: str, options: ChatOptions, written: str) -> Answer:
        """The answer without what a reasoning model thought aloud."""
        thoughts, said = thoughts_apart(written)
        return Answer(text=said, facts={"thoughts": thoughts} if thoughts else {})

    async def generate_stream(self, prompt: str, options: ChatOptions) -> AsyncGenerator[Piece | Answer, None]:
        """As `Engine.generate_stream`; a turn is remembered once it is finished, never in part."""
        options, session_id, forgotten = self._with_session(options)
        hearing = Hearing()
        tool_calls: list[ToolCall] = []
        async with self.desk.lease(self.category) as runner:
            asked = self.ask(prompt, options, runner.facts)
            trimmed = await _trimmed(runner, asked)
            async with aclosing(hearing.listen(runner, replace(asked, messages=trimmed.messages))) as pieces:
                async for piece in pieces:
                    tool_calls += piece.tool_calls
                    yield piece
        concluded = self.conclude(prompt, options, hearing.text)
        if session_id and self._sessions is not None:
            said = Message(role=Role.ASSISTANT, content=concluded.text, tool_calls=tuple(tool_calls))
            asked_now = (Message(role=Role.USER, content=prompt),) if prompt.strip() else ()
            self._sessions.add(options.owner, session_id, (*asked_now, said))
        facts = {
            **concluded.facts,
            **({"session_id": session_id} if session_id else {}),
            "context": {
                "context_tokens": runner.facts.context_tokens,
                "prompt_tokens": trimmed.prompt_tokens,
                "dropped_turns": trimmed.dropped_turns + forgotten,
                "dropped_messages": trimmed.dropped_messages,
            },
        }
        yield hearing.ending()
        yield hearing.answer(
            concluded.text, facts, _notes(trimmed, forgotten, self._sessions is None and options.remember)
        )

    def _with_session(self, options: ChatOptions) -> tuple[ChatOptions, str, int]:
        """The options with the remembered conversation as history, the session's id, and turns forgotten before."""
        if not (options.session_id or options.remember):
            return options, "", 0
        if options.history:
            raise InvalidInput("history and a session exclude each other; send one of them", field="history")
        if self._sessions is None:
            if options.session_id:
                raise InvalidInput("this server remembers no sessions; send the conversation", field="session_id")
            return options, "", 0
        session_id = options.session_id or self._sessions.begin(options.owner)
        history = self._sessions.history(options.owner, session_id)
        forgotten = self._sessions.forgotten_turns(options.owner, session_id)
        return replace(options, history=history), session_id, forgotten


async def _trimmed(runner: Runner, asked: Generation) -> Trimmed:
    async def count(messages: tuple[Message, ...]) -> int:
        return await runner.count_tokens(replace(asked, messages=messages))

    room_tokens = prompt_room(runner.facts.context_tokens, asked.sampling.max_tokens)
    return await trimmed_conversation(asked.messages, room_tokens=room_tokens, count=count)


def _notes(trimmed: Trimmed, forgotten: int, unremembered: bool) -> tuple[str, ...]:
    notes = []
    if trimmed.dropped_turns:
        notes.append(f"the oldest {trimmed.dropped_turns} turns did not fit the model's context and were left out")
    if forgotten:
        notes.append(f"the session became too long: its oldest {forgotten} turns were forgotten")
    if unremembered:
        notes.append("this server remembers no sessions; the turn was not kept")
    return tuple(notes)
