"""Every example of the documentation runs as it stands."""

import asyncio
import collections
import gc
import gzip
import hashlib
import json
import pathlib
import pkgutil
import re
import ssl
import warnings

import pytest
import transport_utils
import trustme
from cryptography.hazmat.primitives import serialization
from mock_servers.doc_examples import find_examples, run_page
from mock_servers.runner import ServerThread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PACKAGE = pathlib.Path(__file__).parent.parent
PAGES = sorted(path.name for path in (PACKAGE / "docs").glob("*.md"))
WITHOUT_EXAMPLES = {"api.md", "changelog.md", "compatibility.md", "features.md"}
OWN_TEST = {"tls.md"}


class Service:
    """What the pages call "your service"."""

    def __init__(self):
        self.flaky = collections.Counter()
        self.app = Starlette(
            routes=[
                Route("/items", self.items, methods=["GET", "POST"]),
                Route("/items/{number:int}", self.item),
                Route("/flaky", self.fail_first),
                Route("/busy", self.busy),
                Route("/big", self.big),
                Route("/drip", self.drip),
                Route("/broken", self.broken),
                Route("/packed", self.packed),
                Route("/echo", self.echo, methods=["GET", "POST", "PUT"]),
                Route("/nodes", self.nodes),
            ]
        )

    async def items(self, request: Request) -> Response:
        if request.method == "POST":
            return compact(json.loads(await request.body() or b"null"), 201)
        return compact(
            [{"id": number} for number in range(int(request.query_params.get("limit", 3)))]
        )

    async def item(self, request: Request) -> Response:
        return compact({"id": request.path_params["number"]})

    async def fail_first(self, request: Request) -> Response:
        name = request.query_params["name"]
        self.flaky[name] += 1
        failed = self.flaky[name] <= int(request.query_params["failures"])
        return Response(status_code=503 if failed else 200)

    async def busy(self, request: Request) -> Response:
        return Response(status_code=503, headers={"retry-after": request.query_params["seconds"]})

    async def big(self, request: Request) -> Response:
        return Response(bytes(1_000_000), media_type="application/octet-stream")

    async def drip(self, request: Request) -> Response:
        async def bytes_now_and_then():
            for _ in range(100):
                yield b"."
                await asyncio.sleep(0.05)

        return StreamingResponse(bytes_now_and_then())

    async def broken(self, request: Request) -> Response:
        status = int(request.query_params["status"])
        return Response("<html>", status_code=status, media_type="application/json")

    async def packed(self, request: Request) -> Response:
        headers = {"content-encoding": "gzip"}
        return Response(
            gzip.compress(b'{"packed":true}'), headers=headers, media_type="application/json"
        )

    async def echo(self, request: Request) -> Response:
        body = await request.body()
        return compact({"headers": dict(request.headers), "bytes": len(body)})

    async def nodes(self, request: Request) -> Response:
        return compact([{"host": "127.0.0.1", "port": request.url.port}])


def compact(value, status=200):
    return JSONResponse(value, status)


@pytest.fixture(scope="module")
def service():
    with ServerThread(Service().app, name="service of the docs") as server:
        yield server


@pytest.mark.parametrize(
    "page", [name for name in PAGES if name not in WITHOUT_EXAMPLES | OWN_TEST]
)
def test_every_example_of_the_page_runs(page, service):
    assert run_page(PACKAGE / "docs" / page, {"url": service.url}) > 0


def test_the_readme_runs(service):
    assert run_page(PACKAGE / "README.md", {"url": service.url}) > 0


@pytest.fixture(scope="module")
def tls_names(tmp_path_factory):
    """What the TLS page takes for granted, and a service behind it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "service.example")
    own = authority.issue_cert("client.example")
    ca_file, client_cert, client_key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca_file)
    client_cert.write_bytes(b"".join(blob.bytes() for blob in own.cert_chain_pems))
    key = serialization.load_pem_private_key(own.private_key_pem.bytes(), None)
    client_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    with ServerThread(Service().app, name="TLS service", ssl_context=context) as server:
        leaf = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
        yield {
            "https_url": server.url,
            "ca_file": str(ca_file),
            "pin": hashlib.sha256(leaf).hexdigest(),
            "client_cert": str(client_cert),
            "client_key": str(client_key),
            "password": "sesame",
        }
    # Python 3.10's asyncio forgets to close the server's side of a handshake that the client refused.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_the_tls_page_runs(tls_names):
    assert run_page(PACKAGE / "docs" / "tls.md", tls_names) > 0


@pytest.mark.parametrize("page", sorted(WITHOUT_EXAMPLES))
def test_no_example_hides_on_a_page_that_is_not_run(page):
    assert not [
        one for one in find_examples(PACKAGE / "docs" / page) if one.language.startswith("py")
    ]


def test_the_reference_shows_every_module():
    source = pathlib.Path(transport_utils.__file__).parent
    modules = {
        module.name
        for module in pkgutil.walk_packages([str(source)], "transport_utils.")
        if "._" not in module.name and not module.name.startswith("transport_utils.h1.")
    }
    shown = set(re.findall(r"automodule:: (\S+)", (PACKAGE / "docs" / "api.md").read_text()))
    packages = {"transport_utils.aio"}
    assert shown == modules - packages
