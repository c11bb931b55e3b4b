"""A program that tests kill: a sandbox that runs as many actions as it can.

Each writes a line to the pipe ``running`` in its cache and then runs, with a daemon, until it is
killed.
"""

from __future__ import annotations

import asyncio
import json
import sys

from reapi_local.execute.sandbox.interface import ActionLimits, ProcessSpec, SandboxConfig
from reapi_local.execute.sandbox.slot.slot_sandbox import SlotSandbox

FOREVER = "trap '' TERM; setsid sleep 1000 & echo running > /reapi/caches/running; sleep 1000"


async def main() -> None:
    settings = json.loads(sys.argv[1])
    spec = ProcessSpec(
        ("/bin/sh", "-c", FOREVER), {"PATH": "/usr/bin:/bin"}, caches=settings.pop("cache")
    )
    sandbox = SlotSandbox(SandboxConfig(limits=ActionLimits(), **settings))
    await sandbox.start()

    async def run() -> None:
        async with sandbox.run(spec, asyncio.Event()):
            pass

    async with asyncio.TaskGroup() as actions:
        for _ in range(settings["count"]):
            actions.create_task(run())


if __name__ == "__main__":
    asyncio.run(main())
