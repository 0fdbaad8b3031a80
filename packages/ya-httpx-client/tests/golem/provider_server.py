"""The server that runs on providers in tests: standard library only, HTTP/1.1 with keep-alive and chunked bodies.

``/echo`` answers with what it received; ``/slow?s=1`` late; ``/big?n=BYTES`` with many bytes; ``/stream?n=3&s=0.1``
in pieces; ``/cookies`` with two cookies; ``/redirect`` to ``/echo``; ``/status?code=503``; ``/gzip`` compressed;
``/close`` without a length; ``/pid``; ``/die`` by ending the process. The header ``X-Id`` has an execution written
down.
"""

import gzip
import http.server
import json
import os
import sys
import time
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def body(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self, body=b"", status=200, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def serve(self):
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        body = self.body()
        if identifier := self.headers.get("x-id"):
            with open(os.environ["EXECUTION_LOG"], "a") as log:
                log.write(identifier + "\n")
        time.sleep(float(query.get("s", 0)) if parts.path != "/stream" else 0)
        getattr(self, "do_" + parts.path.strip("/"), self.do_missing)(query, body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = serve

    def do_missing(self, query, body):
        self.answer(b"no such path", 404)

    def do_echo(self, query, body):
        fields = [[name, value] for name, value in self.headers.items()]
        head = {"method": self.command, "path": self.path, "headers": fields, "length": len(body)}
        self.answer(json.dumps(head).encode() + b"\n" + body, headers=[("Foo", "bar")])

    def do_slow(self, query, body):
        self.answer(b"slow")

    def do_pid(self, query, body):
        self.answer(str(os.getpid()).encode())

    def do_big(self, query, body):
        left = int(query["n"])
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        block = bytes(range(256)) * 256
        while left:
            self.wfile.write(block[:left])
            left -= len(block[:left])
        self.wfile.flush()

    def do_stream(self, query, body):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(int(query.get("n", 3))):
            piece = b"piece %d\n" % number
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(float(query.get("s", 0)))
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def do_cookies(self, query, body):
        self.answer(b"", headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])

    def do_redirect(self, query, body):
        self.answer(b"", 302, headers=[("Location", "/echo")])

    def do_status(self, query, body):
        self.answer(b"", int(query["code"]))

    def do_gzip(self, query, body):
        self.answer(gzip.compress(b"plain" * 100), headers=[("Content-Encoding", "gzip")])

    def do_close(self, query, body):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"until the end")
        self.wfile.flush()
        self.close_connection = True

    def do_die(self, query, body):
        os._exit(1)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


if __name__ == "__main__":
    host, port = sys.argv[1].rsplit(":", 1)
    Server((host, int(port)), Handler).serve_forever()
