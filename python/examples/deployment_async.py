"""Deployments to three regions on one event loop, each behind a gate of its own.

All waits share one connection, and none holds a thread.
"""

from __future__ import annotations

import asyncio
import sys

from gatepost import ApprovalGate, GateController, GateRejectedError, GateTimeoutError

REGIONS = ["eu", "us", "asia"]

controller = GateController({f"{region}/deploy": ApprovalGate(timeout=600) for region in REGIONS})


async def deploy(region: str) -> bool:
    """Deploys to a region once somebody has approved it."""
    print(f"{region} waits: gatepost approve {controller.scope}/{region}/deploy")
    try:
        await controller.wait_async(f"{region}/deploy")
    except (GateRejectedError, GateTimeoutError) as error:
        print(f"{region} is skipped: {error}")
        return False
    print(f"{region} is deployed")
    return True


async def main() -> int:
    """Deploys to all regions at once."""
    deployed = await asyncio.gather(*map(deploy, REGIONS))
    return 0 if all(deployed) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
