"""Run the calculator on three providers and have fifty additions done by them."""

import asyncio
import contextlib
import os
import signal
import sys

from ya_httpx_client.session import Session

IMAGE_HASH = os.environ.get("CALCULATOR_IMAGE", "ca1c" * 14)
CLUSTER_SIZE = 3
SERVER = (
    "/usr/local/bin/gunicorn",
    "--chdir",
    "/golem/run",
    "-b",
    "0.0.0.0:80",
    "calculator_server:app",
    "--daemon",
)

subnet = sys.argv[1] if len(sys.argv) > 1 else "public"
session = Session({"budget": 10, "subnet_tag": subnet})
session.add_url(
    url="http://calc", image_hash=IMAGE_HASH, entrypoint=SERVER, init_cluster_size=CLUSTER_SIZE
)


async def work(client, numbers):
    while not numbers.empty():
        x = numbers.get_nowait()
        answer = await client.get(f"http://calc/add/{x}/1")
        print(f"CALCULATED: {x} + 1 = {answer.text}", flush=True)


async def main():
    numbers = asyncio.Queue()
    for x in range(50):
        numbers.put_nowait(x)
    try:
        async with session.client() as client:
            await asyncio.gather(*(work(client, numbers) for _ in range(CLUSTER_SIZE + 3)))
    finally:
        await session.close()


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    loop.add_signal_handler(signal.SIGINT, task.cancel)  # KeyboardInterrupt could hit any task
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
