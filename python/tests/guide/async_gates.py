import asyncio

from gatepost.gates import ApprovalGate

gate = ApprovalGate(timeout=60)


async def wait_for_approval():
    print("Waiting for approval...")
    await gate.wait_async()
    print("Approved!")


async def approve_later():
    await asyncio.sleep(2)
    gate.approve()


async def main():
    await asyncio.gather(
        wait_for_approval(),
        approve_later(),
    )


asyncio.run(main())
