"""A local server, in Quart, that has every request answered by a server on a provider: requestor_proxy.py SUBNET."""

import os
import sys

from quart import Quart
from ya_httpx_client.serializable_request import Request, Response
from ya_httpx_client.session import Session

IMAGE_HASH = os.environ.get("ECHO_IMAGE", "ec60" * 14)
SERVER = (
    "/usr/local/bin/gunicorn",
    "--chdir",
    "/golem/run",
    "-b",
    "0.0.0.0:80",
    "echo_server:app",
    "--daemon",
)
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]

app = Quart(__name__)
session = Session({"budget": 10, "subnet_tag": sys.argv[1] if len(sys.argv) > 1 else "public"})
session.add_url(url="http://provider_http_server", image_hash=IMAGE_HASH, entrypoint=SERVER)


@app.while_serving
async def client():
    async with session.client() as app.provider_client:
        yield
    await session.close()


@app.route("/", defaults={"path": ""}, methods=METHODS, provide_automatic_options=False)
@app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
async def forward(path):
    request = await Request.from_quart_request()
    request.replace_mount_url("http://provider_http_server")
    response = await app.provider_client.send(request.as_httpx_request())
    return Response.from_httpx_response(response).as_quart_response()


if __name__ == "__main__":
    # The reloader of newer Quarts is a process around this one that dies of Ctrl-C before the session has closed.
    app.run(port=int(os.environ.get("PORT", "5000")), use_reloader=False)
