"""Program that kills writers and readers at random points: ``crash_program.py CONFIG POINTS SEED BUDGET_S``.

It has no threads of its own, forks writers and a reader, kills them after a random time, and prints as JSON the request
ids of every acknowledged push in order per writer, and how many processes it killed.
"""

import json
import os
import random
import select
import signal
import sys
import threading
import time

from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter


def write(config, acknowledge, writer_number, rng):
    """Push until killed; every acknowledgement is one line of request ids."""
    durability = rng.choice(("fsync", "fsync", "interval"))
    writer = QueueWriter(config, durability=durability)

    def push(thread):
        for number in range(25):
            base = f"{writer_number}-{thread}-{number}"
            if number % 7 == 3:
                reqids = [f"{base}-{index}" for index in range(20)]
                writer.push_many([("m", thread, "v1", {"r": r}, r) for r in reqids])
            elif number % 11 == 5:
                reqids = [base]
                writer.push_nowait("m", thread, "v1", {"r": base}, base).result()
            else:
                reqids = [base]
                writer.push("m", thread, "v1", {"r": base}, base)
            os.write(acknowledge, (f"{thread} " + " ".join(reqids) + "\n").encode())

    threads = [threading.Thread(target=push, args=(f"t{n}",), daemon=True) for n in range(2)]
    for thread in threads:
        thread.start()
    push("t9")
    threading.Event().wait()  # to be killed


def child(work, *arguments):
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        finally:
            os._exit(0)
    return pid


def main(values, points, seed, budget_s):
    rng = random.Random(seed)
    config = QueueReaderConfig(values)
    end = time.monotonic() + budget_s
    acknowledged = {}
    killed = 0
    rounds = 0
    span_s = 0.03  # long enough that about half of the rounds acknowledge something
    while killed < points and time.monotonic() < end:
        rounds += 1
        pipes, pids = [], []
        for _ in range(rng.choice((1, 1, 2))):
            source, sink = os.pipe()
            name = f"w{rounds}x{len(pipes)}"
            pids.append(child(write, config, sink, name, random.Random(rng.random())))
            os.close(sink)
            pipes.append((source, name))
        if rng.random() < 0.7:
            pids.append(child(lambda: QueueReader(config, max_retry_delay=0.02).run_forever()))
        deadline = time.monotonic() + rng.uniform(0.0, span_s)
        text = {source: b"" for source, _ in pipes}
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(list(text), [], [], left)
            for source in ready:
                text[source] += os.read(source, 65536)
        for pid in rng.sample(pids, len(pids)):
            os.kill(pid, signal.SIGKILL)
            killed += 1
        for pid in pids:
            os.waitpid(pid, 0)
        before = len(acknowledged)
        for source, name in pipes:
            while part := os.read(source, 65536):
                text[source] += part
            os.close(source)
            for line in text[source].decode().splitlines():
                thread, *reqids = line.split()
                acknowledged.setdefault(f"{name} {thread}", []).extend(reqids)
        span_s = min(1.0, span_s * 1.3) if len(acknowledged) == before else max(0.02, span_s * 0.9)
    return {"killed": killed, "acknowledged": acknowledged}


if __name__ == "__main__":
    result = main(json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    sys.stdout.write(json.dumps(result))
