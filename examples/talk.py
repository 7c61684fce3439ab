"""Print a real conversation: `python -m examples.talk` lets a fresh installation live a little, and talks to it.

The transcript in `docs/talk.md` was made by this. Ids and measurements differ from run to run.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from conductor.app.conductor import Conductor
from conductor.domain.task import Submission
from conductor.domain.workload import Workload

#: What was done before: description, command.
HISTORY = [
    ("Sort the customer table by name", [sys.executable, "-c", "sorted(str(n) for n in range(10**6))"]),
    ("Transcode the holiday clip to H.264", ["sleep", "0.4"]),
    ("Upload the report to the archive server", ["false"]),
]
LINES = [
    "What is the system status?",
    "Which device is best for video encoding?",
    "and why not the other one?",
    "Which jobs failed today?",
    "run `sha256sum /etc/hostname`",
    "yes",
    "Why did you choose that device for the last task?",
    "Cancel the training",
    "nein",
    "Why is the network slow?",
    "¿Qué máquinas hay conectadas?",
    "Which models are loaded?",
    "What's the weather like in Paris?",
]


async def main() -> None:
    """Live, then talk."""
    with tempfile.TemporaryDirectory() as folder:
        async with Conductor.open(Path(folder) / "data", environ=os.environ) as conductor:
            for description, command in HISTORY:
                task = await conductor.tasks.submit(_submission(description, command))
                await conductor.tasks.wait(task.task_id)
            training = await conductor.tasks.submit(_submission("Train the defect classifier", ["sleep", "600"]))
            conversation = None
            for line in LINES:
                reply = await conductor.talk.say(line, conversation_id=conversation)
                conversation = reply.conversation_id
                print(f"you> {line}\n{reply.text}\n")
            await conductor.tasks.cancel(training.task_id, reason="the example is over")


def _submission(description: str, command: list[str]) -> Submission:
    workload = Workload(kind="command", spec={"command": command})
    return Submission(description=description, workload=workload, max_retries=0)


if __name__ == "__main__":
    asyncio.run(main())
