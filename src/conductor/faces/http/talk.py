"""The route for talking: one utterance in, one reply out; a confirmed plan is executed."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from conductor.app.conductor import Conductor
from conductor.app.talk import ShownPlan
from conductor.domain.intent import Intent
from conductor.faces.http.contract import PROBLEMS


class UtteranceIn(BaseModel):
    """What somebody says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field("", max_length=1_000_000, examples=["Why is everything so slow?"])
    conversation_id: str | None = Field(
        None, min_length=1, max_length=100, description="from an earlier reply; a new conversation without it"
    )
    confirm_token: str | None = Field(
        None, min_length=1, max_length=300, description="of the plan shown last; confirms exactly that plan, once"
    )
    user_id: str = Field("local", min_length=1, max_length=200)


class ReplyOut(BaseModel):
    """An answer; every number in `text` is among `facts`, under the rounding of the text.

    `plan` waits for a yes: say yes in this conversation, or send its `token`. `task_id` is what a confirmed plan made or
    cancelled. `dropped` holds sentences that were withheld because a number in them could not be traced.
    """

    text: str
    intent: Intent | None
    conversation_id: str
    plan: ShownPlan | None
    task_id: str | None
    facts: dict[str, Any]
    dropped: list[str]


def routes(conductor: Conductor) -> APIRouter:
    """`/v1/talk`."""
    router = APIRouter(tags=["talk"], responses=PROBLEMS)

    @router.post("/v1/talk")
    async def talk(body: UtteranceIn) -> ReplyOut:
        """Ask, or order: status, advice, explanations, plans. Nothing is executed before its plan is confirmed."""
        reply = await conductor.talk.say(
            body.text, conversation_id=body.conversation_id, confirm_token=body.confirm_token, user_id=body.user_id
        )
        return ReplyOut(
            text=reply.text,
            intent=reply.intent,
            conversation_id=reply.conversation_id,
            plan=reply.plan,
            task_id=reply.task_id,
            facts=dict(reply.facts),
            dropped=list(reply.dropped),
        )

    return router
