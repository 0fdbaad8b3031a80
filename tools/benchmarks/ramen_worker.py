"""One subject of the ramen benchmark in a process of its own: ``ramen_worker.py SUBJECT FOLDER``.

Reads commands as JSON lines from standard input and answers each with one JSON line; every subject stores the same
document, compressed by zlib, so that it survives a power failure when the call returns. Runs under the interpreter that
has the subject installed.
"""

import json
import os
import random
import socket
import sys
import threading
import time
import warnings
import zlib

warnings.simplefilter("ignore")

DOCUMENT = {f"key{n}": random.Random(n).random() for n in range(38)}
TEXT = json.dumps(DOCUMENT, separators=(",", ":")).encode()
REPLY = (
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n"
    b'{"code":"ACCEPTED","details":null}'
)


def config_values(folder, hostname="127.0.0.1:1"):
    return {
        "sender": "bench",
        "system_serial": 1,
        "system_version": "1",
        "queue_dir": folder,
        "hostname": hostname,
        "auth_token": "t",
        "ssl": False,
    }


class Floor:
    """Append and fdatasync."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
        self.fd = os.open(os.path.join(folder, "floor"), flags, 0o600)

    def push(self):
        """Store one document."""
        os.write(self.fd, TEXT)
        os.fdatasync(self.fd)


class Ramen:
    """infi.ramen_client, whichever is installed."""

    def __init__(self, folder):
        from infi.ramen_client.config import QueueReaderConfig
        from infi.ramen_client.queue_writer import QueueWriter

        self.folder = folder
        self.writer = QueueWriter(QueueReaderConfig(config_values(folder)))

    def push(self):
        """Store one document."""
        self.writer.push("metrics", "san_totals", "v1", DOCUMENT)

    def push_many(self, count):
        """Store documents in one call."""
        self.writer.push_many([("metrics", "san_totals", "v1", DOCUMENT)] * count)

    def size(self):
        """Ask for the length."""
        return self.writer.queue_size()

    def drain(self, hostname):
        """Send everything and return the rate."""
        from infi.ramen_client.config import QueueReaderConfig
        from infi.ramen_client.queue_reader import QueueReader

        reader = QueueReader(QueueReaderConfig(config_values(self.folder, hostname)))
        began = time.perf_counter()
        count = reader.run(blocking=False)
        return count / (time.perf_counter() - began)


class PersistQueue:
    """persist-queue's acknowledged SQLite queue; synchronous is FULL by default."""

    def __init__(self, folder):
        import persistqueue

        self.queue = persistqueue.SQLiteAckQueue(folder, auto_commit=True, multithreading=True)

    def push(self):
        """Store one document."""
        self.queue.put(zlib.compress(json.dumps(DOCUMENT).encode()))


class LiteQueue:
    """litequeue, set to FULL."""

    def __init__(self, folder):
        import litequeue

        os.makedirs(folder, exist_ok=True)
        self.queue = litequeue.LiteQueue(os.path.join(folder, "queue"))
        self.queue.conn.execute("PRAGMA synchronous = FULL")

    def push(self):
        """Store one document."""
        self.queue.put(zlib.compress(json.dumps(DOCUMENT).encode()).hex())


class DiskCache:
    """diskcache.Deque, set to FULL."""

    def __init__(self, folder):
        import diskcache

        self.queue = diskcache.Deque(directory=folder)
        self.queue._cache.reset("sqlite_synchronous", 2)

    def push(self):
        """Store one document."""
        self.queue.append(zlib.compress(json.dumps(DOCUMENT).encode()))


SUBJECTS = {
    "floor": Floor,
    "ours": Ramen,
    "original": Ramen,
    "persist-queue": PersistQueue,
    "litequeue": LiteQueue,
    "diskcache": DiskCache,
}


def timed(push, count):
    times = []
    for _ in range(count):
        began = time.perf_counter()
        push()
        times.append(time.perf_counter() - began)
    return times


def threaded(push, threads, count):
    """Push from several threads; return the rate and all times."""
    times = []
    barrier = threading.Barrier(threads + 1)

    def work():
        barrier.wait()
        times.extend(timed(push, count))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return threads * count / (time.perf_counter() - began), times


def serve():
    """Answer any request on a kept connection at once, by asyncio streams in a thread; return the port.

    Meant to be about as fast as the server of the study that set the bars (a bare loop got 11 to 13 thousand answers a
    second there); 7 to 30 thousand were seen on busy cores, so read the ratio and not the rate.
    """
    import asyncio

    ready = threading.Event()
    ports = []

    async def talk(source, sink):
        try:
            while True:
                head = await source.readuntil(b"\r\n\r\n")
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                await source.readexactly(int(fields[b"Content-Length"]))
                sink.write(REPLY)
                await sink.drain()
        except asyncio.IncompleteReadError:
            sink.close()

    async def run():
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await server.serve_forever()

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()
    ready.wait()
    return ports[0]


def bare(port, count):
    """Send the same request in a loop that only waits for the last byte; return the rate."""
    body = zlib.compress(TEXT)
    head = (
        f"POST /ramen/v1/metrics/1/bench.san_totals.v1/?version=1&reqid=0123456789abcdef-1 HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\nUser-Agent: bare\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n"
        "Connection: keep-alive\r\nX-API-Token: t\r\nContent-Type: application/json\r\n"
        f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        for _ in range(count):
            sock.sendall(request)
            left = len(REPLY)
            while left:
                left -= len(sock.recv(left))
        return count / (time.perf_counter() - began)


def resident_kib():
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def main(name, folder):
    subject = SUBJECTS[name](folder) if name in SUBJECTS else None
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        if what == "push":
            answer = timed(subject.push, command["count"])
        elif what == "threads":
            answer = threaded(subject.push, command["threads"], command["count"])
        elif what == "many":
            began = time.perf_counter()
            for _ in range(command["batches"]):
                subject.push_many(100)
            answer = command["batches"] * 100 / (time.perf_counter() - began)
        elif what == "drain":
            answer = subject.drain(command["hostname"])
        elif what == "serve":
            answer = serve()
        elif what == "bare":
            answer = bare(command["port"], command["count"])
        elif what == "size":
            answer = timed(subject.size, command["count"])
        else:
            answer = resident_kib()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
