"""The machine that computes the policy, for the campaign to kill: `python -m ... --port N`."""

from __future__ import annotations

import argparse
import asyncio

from policies.serving.server import PolicyServer, ServerSettings
from vla_ros.faults.wandering import WanderingPolicy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    server = PolicyServer(WanderingPolicy(), ServerSettings(port=options.port))
    asyncio.run(server.run(asyncio.Event(), lambda port: print(f"serving on {port}", flush=True)))


if __name__ == "__main__":
    main()
