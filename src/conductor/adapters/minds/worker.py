"""Keep a language model in a process of its own: torch and llama.cpp can crash, swell or hang there and harm nothing.

The worker starts at the first question. A question has a time limit, and one that passes it ends the worker: it is
busy with something nobody waits for any more. While the model is being loaded, questions wait for their limit and fail,
and the loading goes on. A worker that died is started again after a rest that grows with each failure.

The worker ends when its standard input closes, so it never outlives the server. It sees the environment that is handed
in here and nothing else. What is said over the pipes is `wire`'s; what the worker does is `app.minds.worker`.
"""

import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, Final, TypeVar

from conductor.adapters.minds import wire
from conductor.decisions.ports import Proposal
from conductor.domain.clock import Clock
from conductor.domain.errors import ModelError

_FIRST_REST_S: Final = 1.0
_LONGEST_REST_S: Final = 300.0
_ENDING_S: Final = 5.0
_LONGEST_COMPLAINT: Final = 2_000
#: Characters of a description that are sent: more than any reader of ours reads, and less than a pipe holds.
_LONGEST_TEXT: Final = 4_096

Answer = TypeVar("Answer")


class WorkerMind:
    """The `LanguageModel` that a worker process computes.

    Args:
        command: starts the worker; it speaks `wire` on its standard input and output.
        name: how people call the model.
        environment: all that the worker sees; without secrets.
        timeout_s: bound of one description, and of waiting for the model to be loaded.
        loading_s: bound of loading; a worker that takes longer is ended.
    """

    def __init__(
        self, command: Sequence[str], *, name: str, environment: Mapping[str, str], clock: Clock, timeout_s: float,
        loading_s: float = 600.0,
    ) -> None:  # fmt: skip
        self._name = name
        self._command = command
        self._environment = environment
        self._clock = clock
        self._timeout_s = timeout_s
        self._loading_s = loading_s
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._started_s = 0.0
        self._rest_s = 0.0
        self._rests_until_s = 0.0
        self._failure = ""

    @property
    def name(self) -> str:
        """How people call the model."""
        return self._name

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights in lowercase hex; waits until they are loaded, for the limit of a question.

        Raises:
            ModelError: they cannot be loaded, or not in time.
        """
        return self._locked(lambda worker: worker.checksum)

    @property
    def is_loading(self) -> bool:
        """Whether a worker runs that has not said yet whether it could load the model."""
        worker = self._worker
        return worker is not None and not worker.checksum

    def propose(self, texts: Sequence[str]) -> Sequence[Proposal]:
        """Have each description read; blocking, thread-safe.

        Raises:
            ModelError: the model cannot be loaded, is not loaded yet, died, or did not answer in time.
        """
        return [self._locked(lambda worker, text=text: self._ask(worker, text)) for text in texts]  # type: ignore[misc]

    def close(self) -> None:
        """End the worker, if there is one; a question under way fails."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def _locked(self, use: "Callable[[_Worker], Answer]") -> Answer:
        """Use a worker that has loaded its model; a failure ends it and begins a rest."""
        if not self._lock.acquire(timeout=self._timeout_s):
            raise self._error(f"is busy with other questions for {self._timeout_s:g} s; raise mind.timeout_s")
        try:
            return use(self._loaded())
        except _Failed as failed:
            self._failure = str(failed)
            self.close()
            self._rest_s = min(max(_FIRST_REST_S, 2 * self._rest_s), _LONGEST_REST_S)
            self._rests_until_s = self._clock.monotonic_s() + self._rest_s
            raise self._error(self._failure) from failed
        finally:
            self._lock.release()

    def _loaded(self) -> "_Worker":
        worker = self._worker or self._start()
        if worker.checksum:
            return worker
        try:
            worker.wait_until_loaded(self._timeout_s)
        except queue.Empty:
            loading_s = self._clock.monotonic_s() - self._started_s
            if loading_s < self._loading_s:
                raise self._error(f"is still being loaded (for {loading_s:.0f} s now)") from None
            raise _Failed(f"was not loaded within {self._loading_s:g} s; choose a smaller model") from None
        return worker

    def _start(self) -> "_Worker":
        left_s = self._rests_until_s - self._clock.monotonic_s()
        if self._rest_s and left_s > 0:
            raise self._error(f"{self._failure} (tried again in {left_s:.0f} s)")
        try:
            self._worker = _Worker(self._command, self._environment)
        except OSError as refused:
            raise _Failed(f"cannot be started: {refused}") from refused
        self._started_s = self._clock.monotonic_s()
        return self._worker

    def _ask(self, worker: "_Worker", text: str) -> Proposal:
        try:
            answer = worker.ask([text[:_LONGEST_TEXT]], self._timeout_s)
        except queue.Empty:
            raise _Failed(f"did not answer within {self._timeout_s:g} s; raise mind.timeout_s") from None
        self._rest_s = 0.0
        if "error" in answer:
            raise self._error(str(answer["error"]))
        try:
            return wire.proposal(answer["proposals"][0])
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as wrong:
            raise _Failed("answered nonsense") from wrong

    def _error(self, what: str) -> ModelError:
        return ModelError(f"the language model {self._name}: {what}", field="mind.model")


class _Failed(Exception):
    """The worker is of no use any more; says why."""


class _Worker:
    """One process, and the threads that read its pipes so that it never waits for us."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C in the terminal is the server's to handle
        )
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._said: deque[str] = deque(maxlen=5)
        self._asked = 0
        self.checksum = ""
        for read in (self._read_answers, self._read_complaints):
            threading.Thread(target=read, name="mind-worker", daemon=True).start()

    def wait_until_loaded(self, limit_s: float) -> None:
        """Raises `_Failed` if the model cannot be loaded, `queue.Empty` if it is not yet."""
        answer = self._receive(limit_s)
        if "error" in answer:
            raise _Failed(str(answer["error"]))
        try:
            self.checksum = str(answer["ready"]["checksum"])
        except (KeyError, TypeError) as wrong:
            raise _Failed("its worker began with nonsense") from wrong

    def ask(self, texts: Sequence[str], limit_s: float) -> dict[str, Any]:
        """One exchange; raises as `wait_until_loaded`."""
        self._asked += 1
        try:
            self._pipe(self._process.stdin).write(wire.line({"id": self._asked, "texts": texts}))
            self._pipe(self._process.stdin).flush()
        except OSError as gone:
            raise _Failed(self._ending()) from gone
        answer = self._receive(limit_s)
        if answer.get("id") != self._asked:
            raise _Failed("answered another question")
        return answer

    def end(self) -> None:
        """End the process and wait for it."""
        with suppress(OSError):
            self._pipe(self._process.stdin).close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_S)

    def _receive(self, limit_s: float) -> dict[str, Any]:
        answer = self._answers.get(timeout=limit_s)
        if answer is None:
            raise _Failed(self._ending())
        return answer

    def _ending(self) -> str:
        """How the process ended, with its last words."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_S)
        code = self._process.returncode
        how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        hint = "; perhaps it did not fit into memory: choose a smaller model" if how == "SIGKILL" else ""
        last = f"; it said: {' '.join(self._said)[-300:]}" if self._said else ""
        return f"its worker ended with {how}{hint}{last}"

    def _read_answers(self) -> None:
        with self._pipe(self._process.stdout) as answers:
            while line := answers.readline(wire.LONGEST_LINE):
                try:
                    self._answers.put(wire.message(line))
                except ValueError:
                    break
        self._answers.put(None)

    def _read_complaints(self) -> None:
        with self._pipe(self._process.stderr) as complaints:
            while line := complaints.readline(_LONGEST_COMPLAINT):
                self._said.append(line.decode("utf-8", "replace").strip())

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None  # all three are asked for above
        return pipe
