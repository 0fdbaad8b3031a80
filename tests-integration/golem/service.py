"""A service for Golem providers whose handler uses v3io and Loud ML: ``service.py HOST:PORT``.

``PUT /days/<day>`` with JSON stores a day's rides as an item; ``GET /total`` sums the table; ``GET /models`` lists the
models of Loud ML. The addresses of both come from the environment, ``V3IO_API`` and ``LOUDML_HOST``.
"""

import http.server
import json
import os
import sys

from loudml import Loud, NativeHttpConnection
from v3io.dataplane import Client

V3IO = Client(access_key="k", logger_verbosity="ERROR")
LOUD = Loud([os.environ["LOUDML_HOST"]], connection_class=NativeHttpConnection)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        V3IO.kv.put("bigdata", "days", self.path.rpartition("/")[2], json.loads(body))
        self.answer({"stored": True})

    def do_GET(self):
        if self.path == "/total":
            self.answer(sum(item["rides"] for item in V3IO.kv.scan("bigdata", "days")))
        else:
            self.answer([model["settings"]["name"] for model in LOUD.models.get()])

    def log_message(self, *_):
        pass


host, port = sys.argv[1].split(":")
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
