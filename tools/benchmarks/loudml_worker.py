"""One contender of the loudml benchmark in a process of its own: ours, the original release, elasticsearch-py, or raw.

Started by ``loudml.py`` with the interpreter of the contender's environment. Reads numbers of operations from standard
input and answers each with ``<wall> <cpu>``: the median time of an operation and the processor time per operation, both
in seconds. Runs under the originals' Pythons too: no import of this project but ``loudml`` itself.
"""

import socket
import statistics
import sys
import time
import warnings

if sys.path and sys.path[0].endswith("benchmarks"):
    del sys.path[0]  # else this folder's loudml.py would be found in place of the package

warnings.simplefilter("ignore")

REQUEST = (
    "GET /models/first_model HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept-encoding: identity\r\n"
    "user-agent: benchmark/1.0.0\r\nconnection: keep-alive\r\ncontent-type: application/json\r\n\r\n"
)


def raw(port):
    """A socket loop that knows the length of the answer."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = REQUEST.format(port=port).encode()
    sock.sendall(request)
    expected = len(sock.recv(65536))

    def run():
        sock.sendall(request)
        data = sock.recv(65536)
        while len(data) < expected:
            data += sock.recv(65536)
        return data

    return run


def ours(port, connection_class=None, **params):
    """``models.get`` of this project."""
    import loudml

    options = {}
    if connection_class is not None:
        options["connection_class"] = getattr(loudml, connection_class)
    get = loudml.Loud(f"127.0.0.1:{port}", **options).models.get
    return lambda: get("first_model", **params)


def original(port, connection_class=None):
    """``models.get`` of loudml-python 1.6.3."""
    import loudml_py

    options = {}
    if connection_class is not None:
        options["connection_class"] = getattr(loudml_py, connection_class)
    get = loudml_py.Loud(f"127.0.0.1:{port}", **options).models.get
    return lambda: get("first_model")


def elasticsearch(port):
    """The same request by elasticsearch-py, whose answer is decoded likewise."""
    from elasticsearch import Elasticsearch

    client = Elasticsearch(f"http://127.0.0.1:{port}", meta_header=False)
    client._verified_elasticsearch = True  # the server is none, which it would check once
    headers = {"accept": "application/json"}
    return lambda: client.perform_request("GET", "/models/first_model", headers=headers)


CONTENDERS = {
    "raw": raw,
    "native": lambda port: ours(port, "NativeHttpConnection"),
    "native fields": lambda port: ours(
        port, "NativeHttpConnection", fields=["settings", "state"], include_fields=True
    ),
    "urllib3": ours,
    "requests": lambda port: ours(port, "RequestsHttpConnection"),
    "original urllib3": original,
    "original requests": lambda port: original(port, "RequestsHttpConnection"),
    "elasticsearch": elasticsearch,
}


def main(kind, port):
    """Serve the parent until it closes the pipe."""
    run = CONTENDERS[kind](port)
    for _ in range(50):
        run()
    print("ready", flush=True)
    for line in sys.stdin:
        samples = []
        cpu = time.process_time()
        for _ in range(int(line)):
            began = time.perf_counter()
            run()
            samples.append(time.perf_counter() - began)
        cpu = (time.process_time() - cpu) / len(samples)
        print(statistics.median(samples), cpu, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
