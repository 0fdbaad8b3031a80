"""One contender of the v3io benchmark in a process of its own: ours, the original release, or the raw socket loop.

Started by ``v3io.py`` with the interpreter of the contender's environment. Reads lines ``<scenario> <operations>`` from
standard input, runs them, and answers each with ``<wall> <cpu> <peak>``: seconds per operation by the clock and of this
process's processor time, and the peak memory of the process in KiB. Runs under the original's Python too: no import of
this project but ``v3io`` itself.
"""

import asyncio
import resource
import socket
import statistics
import sys
import time
import warnings

if sys.path and sys.path[0].endswith("benchmarks"):
    del sys.path[0]  # else this folder's v3io.py would be found in place of the package

warnings.simplefilter("ignore")

ATTRIBUTES = {"age": 42, "feature": "mustache"}
RECORDS = [{"data": b"x" * 1024, "shard_id": index % 8} for index in range(1000)]
BODY = b"x" * 200
CALLS_AT_ONCE = 8
BATCH_CALLS = 1000


class Client:
    """The scenarios on the SDK; ours and the original's are called the same way."""

    def __init__(self, port):
        import v3io.aio.dataplane
        import v3io.dataplane

        self.url = f"http://127.0.0.1:{port}"
        self.sdk = v3io
        self.client = v3io.dataplane.Client(endpoint=self.url, access_key="key", max_connections=8)
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.open())

    async def open(self):
        """Make the asyncio client in its loop."""
        self.aio = self.sdk.aio.dataplane.Client(
            endpoint=self.url, access_key="key", max_connections=8
        )

    def close(self):
        """Close the connections."""
        self.loop.run_until_complete(self.aio.close())
        self.loop.close()
        self.client.close()

    def get_object(self):
        """Read 200 bytes."""
        return self.client.object.get("bigdata", "some/object").body

    def put_object(self):
        """Write 200 bytes."""
        return self.client.object.put("bigdata", "some/object", body=BODY)

    def get_item(self):
        """Read an item of two attributes; its output is decoded on demand, and is not here."""
        return self.client.kv.get("bigdata", "some/table", "key")

    def put_item(self):
        """Write an item of two attributes."""
        return self.client.kv.put("bigdata", "some/table", "key", ATTRIBUTES)

    async def aio_get_object(self):
        """Read 200 bytes."""
        return (await self.aio.object.get("bigdata", "some/object")).body

    async def aio_put_object(self):
        """Write 200 bytes."""
        return await self.aio.object.put("bigdata", "some/object", body=BODY)

    async def aio_get_item(self):
        """Read an item."""
        return await self.aio.kv.get("bigdata", "some/table", "key")

    async def aio_put_item(self):
        """Write an item."""
        return await self.aio.kv.put("bigdata", "some/table", "key", ATTRIBUTES)

    async def aio_8_at_once(self):
        """Read 8 items concurrently."""
        await asyncio.gather(*[self.aio_get_item() for _ in range(CALLS_AT_ONCE)])

    def batch(self):
        """Send a batch of 1000 small puts over 8 connections."""
        for index in range(BATCH_CALLS):
            self.client.batch.put_object("bigdata", f"object{index}", body=b"some object")
        self.client.batch.wait()

    def put_records(self):
        """Append 1000 records of 1 KiB and look for failures."""
        return self.client.stream.put_records(
            "bigdata", "some/stream", RECORDS
        ).output.failed_record_count

    def scan(self):
        """Walk through a table item by item."""
        cursor = self.client.kv.new_cursor("bigdata", "some/table")
        count = 0
        while cursor.next_item() is not None:
            count += 1
        return count


class Raw:
    """The floor: bytes prepared beforehand, a blocking socket, no parsing."""

    def __init__(self, port):
        self.port = port
        self.sockets = [self.connect() for _ in range(8)]
        self.answers = {}
        fixed = (
            f"Host: 127.0.0.1:{port}\r\nAccept-Encoding: identity\r\nX-v3io-session-key: key\r\n"
        )
        self.requests = {
            "get_object": f"GET /bigdata/some/object HTTP/1.1\r\n{fixed}\r\n".encode(),
            "put_object": f"PUT /bigdata/some/object HTTP/1.1\r\n{fixed}Content-Length: 200\r\n\r\n".encode()
            + BODY,
            "get_item": self.function(fixed, "GetItem", b'{"AttributesToGet":"*"}'),
            "put_item": self.function(
                fixed, "PutItem", b'{"Item":{"age":{"N":"42"},"feature":{"S":"mustache"}}}'
            ),
            "batch": f"PUT /bigdata/object1 HTTP/1.1\r\n{fixed}Content-Length: 11\r\n\r\nsome object".encode(),
        }

    def close(self):
        """Close the connections."""
        for sock in self.sockets:
            sock.close()

    def function(self, fixed, name, body):
        """Return the bytes of a function call."""
        head = (
            f"PUT /bigdata/some/table/key HTTP/1.1\r\n{fixed}Content-Length: {len(body)}\r\n"
            f"X-v3io-function: {name}\r\nContent-Type: application/json\r\n\r\n"
        )
        return head.encode() + body

    def connect(self):
        """Open a connection."""
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def __getattr__(self, name):
        request = self.requests[name.removeprefix("aio_")]
        sock = self.sockets[0]

        def exchange():
            sock.sendall(request)
            return sock.recv(65536)

        return exchange

    def batch(self):
        """Keep 8 requests on their way until 1000 are answered."""
        request, sockets = self.requests["batch"], self.sockets
        for sock in sockets:
            sock.sendall(request)
        for index in range(BATCH_CALLS - len(sockets)):
            sock = sockets[index % len(sockets)]
            sock.recv(65536)
            sock.sendall(request)
        for sock in sockets:
            sock.recv(65536)


def measure(contender, scenario, operations):
    """Return wall and processor seconds of one operation."""
    run = getattr(contender, scenario)
    samples = []
    if scenario.startswith("aio_") and isinstance(contender, Client):

        async def loop():
            for _ in range(operations):
                began = time.perf_counter()
                await run()
                samples.append(time.perf_counter() - began)

        cpu = time.process_time()
        contender.loop.run_until_complete(loop())
    else:
        cpu = time.process_time()
        for _ in range(operations):
            began = time.perf_counter()
            run()
            samples.append(time.perf_counter() - began)
    cpu = time.process_time() - cpu
    return statistics.median(samples), cpu / operations


def main():
    """Serve the benchmark's orders until it closes our standard input."""
    kind, port = sys.argv[1], int(sys.argv[2])
    contender = Raw(port) if kind == "raw" else Client(port)
    print("ready", flush=True)
    for line in sys.stdin:
        scenario, operations = line.split()
        wall, cpu = measure(contender, scenario, int(operations))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(wall, cpu, peak, flush=True)
    contender.close()


if __name__ == "__main__":
    main()
