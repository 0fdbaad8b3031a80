"""The same as an ASGI application that streams bodies: uvicorn asgi_proxy:app --port 5000."""

import os

from ya_httpx_client.asgi_proxy import Proxy
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

session = Session({"budget": 10, "subnet_tag": os.environ.get("YAGNA_SUBNET", "public")}, slots=4)
session.add_url("http://provider_http_server", IMAGE_HASH, SERVER)
app = Proxy(session, "http://provider_http_server")
