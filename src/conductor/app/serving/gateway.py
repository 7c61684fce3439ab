"""Pass requests for models that run elsewhere on to one of their upstreams: limits, routing, relaying, accounting.

One request: the caller's limits admit it, the model's router takes an upstream, the relay passes bytes in both directions,
and the books are kept when it is over. An upstream that cannot be reached, fails or has too much to do before its answer
begins is replaced by the next one; once the answer has begun there is no second attempt. What a client did wrong is
answered in the upstream's own words.

Who the caller is, the gate has found out; the protocol's form of errors is the face's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from conductor.adapters.endpoints.failures import EndpointError, reason, retry_after_s
from conductor.adapters.endpoints.relay import (
    Asked,
    Headers,
    Relay,
    RelayedAnswer,
    Target,
    broken_stream,
    read_asked,
    with_model,
)
from conductor.app.serving.relayed import Heard, RelayedCalls, Row
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, NotFound, Overloaded
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelName
from conductor.serving.traffic.accounting import Accounting
from conductor.serving.traffic.limits import Limits
from conductor.serving.traffic.routing import Ending, Router, Turn, Upstream

__all__ = ("Asked", "Gateway", "Place", "Sink", "UpstreamBusy")

_MOST_REFUSAL_BYTES: Final = 65_536
#: Statuses for which another upstream may have a better answer.
_FAILED: Final = frozenset({500, 502, 503, 504})
#: What the client did wrong, said by the upstream in the protocol's form.
_CLIENTS_FAULT: Final = frozenset({400, 404, 409, 413, 415, 422})


class UpstreamBusy(Overloaded):
    """Every upstream of the model has too much to do."""

    code = "model.busy"


class Sink(Protocol):
    """Where an answer goes: the client's connection."""

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head; once."""
        ...

    async def write(self, chunk: bytes, *, more: bool) -> None:
        """Send a part of the body; waits while the client does not read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One upstream of a model, its share of the work, and which row of the model table it stands for."""

    target: Target
    weight: float = 1.0
    row: Row | None = None


class Gateway:
    """The use case; belongs to one event loop.

    Args:
        models: upstreams by the model's name here.
        calls: told of every request that is passed on.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        models: Mapping[str, Sequence[Place]],
        limits: Limits,
        accounting: Accounting,
        clock: Clock,
        calls: RelayedCalls | None = None,
    ) -> None:
        self._relay, self._limits, self._accounting, self._clock = relay, limits, accounting, clock
        self._calls = calls
        self._models: dict[str, _Model] = {}
        self.use(models)

    def use(self, models: Mapping[str, Sequence[Place]]) -> None:
        """Serve these models from now on; one whose upstreams stay the same keeps what is known of them."""
        self._models = {
            name: known if (known := self._models.get(name)) and known.places == tuple(places) else _Model(name, places)
            for name, places in models.items()
        }

    @property
    def models(self) -> Sequence[str]:
        """Names of the models that run elsewhere."""
        return tuple(self._models)

    def offers(self, model: str) -> bool:
        """Whether requests for this model are passed on."""
        return model in self._models

    @staticmethod
    def read(body: bytes) -> Asked:
        """Which model a body asks for.

        Raises:
            InvalidInput: it cannot be told.
        """
        return read_asked(body)

    async def pass_on(
        self, asked: Asked, path: str, body: bytes, sink: Sink, *, caller: str, traceparent: str | None = None
    ) -> None:
        """Answer one request; cancelling it ends the work upstream.

        Args:
            path: below the base: `/chat/completions`.

        Raises:
            RateLimited, UpstreamBusy, EndpointError: nothing was sent to the sink; or (EndpointError) a body that is no
                stream broke off, and the connection must be broken as well.
        """
        model = self._models.get(asked.model)
        if model is None:
            raise NotFound(f"no upstream serves {asked.model!r}; GET /v1/models lists the models", field="model")
        begun_s = self._clock.monotonic_s()
        self._limits.admit(caller, begun_s)
        if self._calls is not None:
            self._calls.began(model.row, begun_s)
        books = Heard(begun_s)
        try:
            await self._answer(model, _Passing(asked, path, body, sink, traceparent, books))
            books.abandoned = False
        except ConductorError as error:
            books.error, books.abandoned = error, False
            raise
        finally:
            self._close(model, books, caller, asked.model, traceparent)

    def stats(self) -> JsonObject:
        """Upstreams by model, and the accounts, for `/stats`."""
        now_s = self._clock.monotonic_s()
        return {
            "upstreams": {name: model.router.snapshot(now_s) for name, model in self._models.items()},
            "accounts": self._accounting.snapshot(),
            "total": self._accounting.total().as_json(),
        }

    async def _answer(self, model: "_Model", passing: "_Passing") -> None:
        tried: set[str] = set()
        failure: ConductorError | None = None
        while (turn := model.router.take(self._clock.monotonic_s(), without=tried)) is not None:
            tried.add(turn.upstream.name)
            try:
                await self._attempt(model, turn, passing)
            except (EndpointError, UpstreamBusy) as failed:
                if passing.books.begun or (isinstance(failed, EndpointError) and not failed.again):
                    raise
                failure = failed
            else:
                return
        if failure is not None:
            raise failure
        rest_s = max(0.1, model.router.rests_for_s(self._clock.monotonic_s()))
        raise UpstreamBusy(
            f"every upstream of {passing.asked.model!r} rests after failures or is busy; try again in {rest_s:.1f} s",
            retry_after_s=rest_s,
        )

    async def _attempt(self, model: "_Model", turn: Turn, passing: "_Passing") -> None:
        """One upstream's try; its breaker hears how it ended, however it ended."""
        books = passing.books
        books.upstream = turn.upstream.name
        target = model.targets[turn.upstream.name]
        ending, wanted_s = Ending.ABANDONED, None
        try:
            sent = with_model(passing.body, passing.asked, target.model)
            answer = await self._relay.ask(target, passing.path, sent, traceparent=passing.traceparent)
            try:
                if answer.is_completion or answer.status in _CLIENTS_FAULT:
                    await self._copy(answer, passing.sink, books)
                    ending = Ending.FAILED if books.broken else Ending.ANSWERED
                else:
                    wanted_s = retry_after_s({"Retry-After": answer.header(b"retry-after")})
                    raise await self._refusal(answer, target, wanted_s)
            finally:
                answer.close()
        except UpstreamBusy:
            ending = Ending.BUSY
            raise
        except EndpointError:
            ending = Ending.FAILED
            raise
        finally:
            model.router.give_back(turn, ending, self._clock.monotonic_s(), retry_after_s=wanted_s)

    async def _refusal(self, answer: RelayedAnswer, target: Target, wanted_s: float | None) -> ConductorError:
        """What an answer that is none is told as."""
        said = self._relay.without_key(target, reason(await answer.beginning(_MOST_REFUSAL_BYTES)))
        status = answer.status
        if status == 429 or (status == 503 and wanted_s is not None):
            return UpstreamBusy(f"{target.base} has too much to do: {said}", retry_after_s=wanted_s or 1.0)
        if status in (401, 403):
            what = f"refused our key ({status}); set the key of {target.origin} in the settings"
        elif status == 200:
            what = "answered something that is no completion; check its address"
        elif 300 <= status < 400:
            what = f"points elsewhere (status {status}), and keys do not follow; use the address it points to"
        else:
            what = f"answered {status}: {said}"
        return EndpointError(f"{target.base} {what}", again=status in _FAILED, status=status)

    async def _copy(self, answer: RelayedAnswer, sink: Sink, books: Heard) -> None:
        """Hand on head and body. A stream that breaks off ends with an event that says so."""
        headers = answer.headers
        headers.append((b"x-conductor-upstream", books.upstream.encode("ascii", "replace")))
        books.answer = answer
        await sink.begin(answer.status, headers)
        try:
            more = True
            while more:
                chunk, more = await answer.read()
                if books.first_s is None and answer.is_stream:
                    books.first_s = self._clock.monotonic_s()
                await sink.write(chunk, more=more)
        except EndpointError as broken:
            books.broken = True
            if not answer.is_stream:
                raise
            await sink.write(broken_stream(broken), more=False)

    def _close(self, model: "_Model", books: Heard, caller: str, asked_for: str, traceparent: str | None) -> None:
        now_s = self._clock.monotonic_s()
        answer = books.answer
        usage = None if answer is None else answer.usage
        tokens = self._accounting.record(
            caller,
            asked_for,
            seconds=now_s - books.begun_s,
            usage=usage,
            estimated_completion=0 if answer is None else answer.events,
            failed=books.error is not None or books.broken,
            abandoned=books.abandoned,
        )
        self._limits.charge(caller, tokens, now_s)
        if self._calls is not None:
            self._calls.ended(model.row, asked_for, books, usage, traceparent, now_s)


class _Passing(NamedTuple):
    """One request that is passed on, and what is noted of it meanwhile."""

    asked: Asked
    path: str
    body: bytes
    sink: Sink
    traceparent: str | None
    books: Heard


class _Model:
    """One model's upstreams."""

    def __init__(self, name: str, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        by_name = {f"{place.target.base}#{place.target.model}": place for place in reversed(self.places)}
        self.targets = {upstream: place.target for upstream, place in by_name.items()}
        self.router = Router(Upstream(name=upstream, weight=place.weight) for upstream, place in by_name.items())
        self.row = _row(name, [place.row for place in places if place.row is not None])


def _row(name: str, rows: Sequence[Row]) -> Row:
    """The row that a name means; several models under one title are counted under that title."""
    if not rows:
        return Row(category=Category(""), model=ModelName(name))
    one = len({row.model for row in rows}) == 1
    return Row(category=rows[0].category, model=rows[0].model if one else ModelName(name))
