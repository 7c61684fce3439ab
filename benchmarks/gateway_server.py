"""Our server with one model that runs elsewhere, key, limits, routing, accounts and metrics included.

`python -m benchmarks.gateway_server PORT UPSTREAM FOLDER`. The application is the product's own; only where its upstreams
come from is this benchmark's choice.
"""

import sys
from pathlib import Path

import uvicorn
import uvloop

from benchmarks.upstream import MODEL
from conductor.adapters.clock import SystemClock
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.relay import Relay, Target
from conductor.app.compose import running
from conductor.app.installation import Installation
from conductor.app.logs import configure_logging
from conductor.app.serving.gateway import Gateway, Place
from conductor.faces.http.__main__ import LOOPBACK
from conductor.faces.http.server import create_app
from conductor.serving.accounting import Accounting
from conductor.serving.limits import Allowance, Limits


async def main(port: int, upstream: str, folder: Path) -> None:
    """Serve until ended."""
    installation = Installation.find(data_dir=folder, environ={}, overrides={"mind.model": "none"})
    configure_logging(installation.settings)
    client = EndpointClient(keys=lambda _origin: "sk-upstream")
    gateway = Gateway(
        Relay(client),
        models={MODEL: [Place(target=Target(origin=upstream, base=f"{upstream}/v1", model=MODEL))]},
        limits=Limits(Allowance(requests_per_s=1e6, burst=1e6, tokens_per_min=1e12)),
        accounting=Accounting(),
        clock=SystemClock(),
    )
    async with running(installation) as conductor:
        app = create_app(conductor, hosts=LOOPBACK, gateway=gateway)
        await uvicorn.Server(
            uvicorn.Config(
                app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off", ws="none"
            )
        ).serve()
    await client.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
