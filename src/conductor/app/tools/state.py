"""Tools about the whole: status, nodes, models, and the talk that answers questions in words."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from conductor.app.conductor import Conductor
from conductor.app.tools.generation import ServingDesk
from conductor.app.tools.offered import Arguments, NoArguments, OfferedTool
from conductor.app.whole_numbers import WHOLE
from conductor.domain.errors import InvalidInput


class Status(TypedDict):
    """Whether everything works; `problems` says what does not."""

    status: str
    version: str
    uptime_s: float
    tasks_waiting: int
    tasks_running: int
    problems: list[str]


class DeviceView(TypedDict):
    """One compute device of a node."""

    device_id: str
    type: str
    name: str
    compute_units: int
    memory_bytes: int


class NodeView(TypedDict):
    """One machine. Shares are 0 to 1; what it has no sensor for is null."""

    node_id: str
    hostname: str
    architecture: str
    operating_system: str
    logical_cores: int
    memory_bytes: int
    devices: list[DeviceView]
    performance_score: float
    read_at_unix_s: float | None
    cpu_utilisation: float | None
    free_memory_bytes: int | None
    cpu_temperature_celsius: float | None
    gpu_temperature_celsius: float | None
    gpu_utilisation: float | None


class ListNodesArguments(Arguments):
    """Of `list_nodes`."""

    limit: Annotated[int, Field(ge=1, le=100), WHOLE] = 50
    cursor: Annotated[str | None, Field(min_length=1, max_length=300, description="next_cursor of the page before")] = (
        None
    )


class NodePage(TypedDict):
    """Nodes in the order of their ids."""

    nodes: list[NodeView]
    next_cursor: str | None


class ModelView(TypedDict):
    """A model, what it does here, and the SHA-256 of its weights (empty where nobody can check it)."""

    name: str
    role: str
    state: str
    sha256: str


class ModelList(TypedDict):
    """Models that take part in decisions, then those that serve generation."""

    models: list[ModelView]


class AskArguments(Arguments):
    """Of `ask`."""

    text: Annotated[str, Field(max_length=10_000, description="a question about the installation, or an order")] = ""
    conversation_id: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="of an earlier answer; a new conversation without it"),
    ] = None
    confirm_token: Annotated[
        str | None,
        Field(min_length=1, max_length=300, description="of the plan shown last; executes exactly that plan"),
    ] = None


class PlanView(TypedDict):
    """A plan that waits for a yes."""

    action: str
    description: str
    command: list[str]
    task_id: str
    device: str
    node: str
    confirm_token: str
    expires_in_s: float


class Said(TypedDict):
    """An answer; every number in it is measured."""

    text: str
    conversation_id: str
    plan: PlanView | None
    task_id: str | None


def state_tools(conductor: Conductor, serving: ServingDesk | None) -> list[OfferedTool[Any]]:
    """The tools about the whole."""
    desk = _StateDesk(conductor, serving)
    return [
        OfferedTool(
            name="ask",
            title="Ask in plain words",
            description="Ask about machines, tasks, queue, temperatures, past decisions, or give an order in plain words. "
            "Use it to pass on what the user said; where you know what is wanted, the other tools are more exact. Orders "
            "are answered with a plan; nothing is executed before its confirm_token comes back.",
            arguments=AskArguments,
            answer=Said,
            act=desk.ask,
            reads_only=False,
            destroys=True,
            repeatable=False,
        ),
        OfferedTool(
            name="list_models",
            title="List models",
            description="The models that take part in decisions and those that serve generation, with their state. Use it "
            "before `generate_text` to see which categories are served.",
            arguments=NoArguments,
            answer=ModelList,
            act=desk.models,
        ),
        OfferedTool(
            name="list_nodes",
            title="List machines",
            description="The machines of the fleet with devices, latest reading and performance score. Use it for questions "
            "about hardware, load, free memory and temperature.",
            arguments=ListNodesArguments,
            answer=NodePage,
            act=desk.nodes,
        ),
        OfferedTool(
            name="status",
            title="Status",
            description="Whether everything works, what does not, and how many tasks wait and run. Use it first when "
            "something seems wrong.",
            arguments=NoArguments,
            answer=Status,
            act=desk.status,
        ),
    ]


class _StateDesk:
    """What these tools do."""

    def __init__(self, conductor: Conductor, serving: ServingDesk | None) -> None:
        self._conductor = conductor
        self._serving = serving

    async def ask(self, given: AskArguments) -> Mapping[str, Any]:
        reply = await self._conductor.talk.say(
            given.text, conversation_id=given.conversation_id, confirm_token=given.confirm_token
        )
        plan = reply.plan
        return Said(
            text=reply.text,
            conversation_id=reply.conversation_id,
            plan=None
            if plan is None
            else PlanView(
                action=plan.action.value,
                description=plan.description,
                command=list(plan.command),
                task_id=plan.task_id,
                device=plan.device,
                node=plan.node,
                confirm_token=plan.token,
                expires_in_s=plan.expires_in_s,
            ),
            task_id=reply.task_id,
        )

    async def models(self, _given: NoArguments) -> Mapping[str, Any]:
        deciding = [
            ModelView(name=model.name, role=model.role, state="in use", sha256=model.sha256)
            for model in self._conductor.models.now()
        ]
        serving = [] if self._serving is None else [
            ModelView(name=str(served.name), role=f"serves {served.category}", state=state.value, sha256="")
            for served, state in self._serving.models()
        ]  # fmt: skip
        return ModelList(models=deciding + serving)

    async def nodes(self, given: ListNodesArguments) -> Mapping[str, Any]:
        every = sorted(self._conductor.nodes(), key=lambda node: str(node["node_id"]))
        if given.cursor is not None and not any(node["node_id"] == given.cursor for node in every):
            raise InvalidInput("cursor belongs to no page of this listing; begin without one", field="cursor")
        rest = [node for node in every if given.cursor is None or node["node_id"] > given.cursor]
        page = rest[: given.limit]
        return NodePage(
            nodes=[_node_view(node) for node in page],
            next_cursor=page[-1]["node_id"] if len(rest) > given.limit else None,
        )

    async def status(self, _given: NoArguments) -> Mapping[str, Any]:
        found: dict[str, Any] = _part(self._conductor.health(), Status)
        return found | {"uptime_s": round(found["uptime_s"], 1)}


def _node_view(node: Mapping[str, Any]) -> NodeView:
    reading: Mapping[str, Any] = node["reading"] or {}
    devices = [_part(device, DeviceView) for device in node["devices"]]
    return NodeView(
        node_id=node["node_id"],
        hostname=node["hostname"],
        architecture=node["architecture"],
        operating_system=node["operating_system"],
        logical_cores=node["logical_cores"],
        memory_bytes=node["memory_bytes"],
        devices=devices,
        performance_score=node["performance"]["score"],
        read_at_unix_s=reading.get("taken_at_unix_s"),
        cpu_utilisation=reading.get("cpu_utilisation"),
        free_memory_bytes=reading.get("free_memory_bytes"),
        cpu_temperature_celsius=reading.get("cpu_temperature_celsius"),
        gpu_temperature_celsius=reading.get("gpu_temperature_celsius"),
        gpu_utilisation=reading.get("gpu_utilisation"),
    )


def _part(whole: Mapping[str, Any], kind: type[Any]) -> Any:
    """The members that a form names, as that form."""
    return {name: whole[name] for name in kind.__annotations__}
