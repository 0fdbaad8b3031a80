"""The examples of the original documentation run as they are printed there.

Nothing in the text is edited: the names it uses (``localhost:8077``, ``seed1``, the AWS host) lead to mock servers
because this test answers the look-up of names, and their certificate is trusted since it stands in for certifi's list.
"""

import gc
import pathlib
import socket
import ssl

import certifi
import pytest
import trustme
from loudml import Loud, Urllib3HttpConnection
from loudml._version import version_info
from loudml.serializer import JSONSerializer
from mock_servers.doc_examples import find_examples, run_examples
from mock_servers.loudml import LoudmlServer
from transport_utils import tls

SEED = pathlib.Path(__file__).parent / "seed" / "loudml-python.rst"
EXAMPLES = [example for example in find_examples(SEED) if "Loud(" in example.source]
AWS_HOST = "YOURHOST.us-east-1.es.amazonaws.com"
PLAIN_HOSTS = ("localhost", "seed1", "seed2", "host1", "host2")
TLS_HOSTS = ("localhost", "otherhost", AWS_HOST.lower())

MODEL = {
    "name": "first_model",
    "type": "donut",
    "bucket_interval": "1m",
    "interval": "1m",
    "offset": 0,
    "span": 5,
    "features": [{"name": "f", "metric": "avg", "field": "f", "default": None}],
}


class Something:
    """What the example about serializers knows how to encode."""


@pytest.fixture
def servers(monkeypatch, tmp_path):
    """Start a plain and a TLS server, and let the names of the text lead to them."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*TLS_HOSTS).configure_cert(context)
    certificate = tmp_path / "path" / "to" / "cert.pem"
    certificate.parent.mkdir(parents=True)
    authority.cert_pem.write_to_path(certificate)
    monkeypatch.chdir(tmp_path)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(certifi, "where", lambda: str(certificate))
    tls._build.cache_clear()
    plain = LoudmlServer(tick_s=0.02)
    secure = LoudmlServer(tick_s=0.02, ssl_context=context)
    with plain, secure:
        ports = {(host, 8077): plain.nodes[0].host for host in PLAIN_HOSTS}
        ports.update({(host, 443): secure.nodes[0].host for host in TLS_HOSTS})
        real = socket.getaddrinfo

        def look_up(host, port, *args, **kwargs):
            name = host.decode() if isinstance(host, bytes) else host
            address = ports.get((name.lower(), port))
            if address is not None:
                host, _, port = address.rpartition(":")
            return real(host, int(port), *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        yield plain, secure
    tls._build.cache_clear()


def test_requirement_of_the_documentation_selects_this_version():
    assert "loudml-python>=1.6.0,<2.0.0" in SEED.read_text()
    assert (1, 6, 0) <= version_info < (2, 0, 0)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line{example.line}")
def test_example_runs_as_printed(example, servers, capsys):
    plain, _ = servers
    names = {
        "Loud": Loud,  # imported by the examples above
        "hosts": ["seed1", "seed2"],
        "YOUR_ACCESS_KEY": "key",
        "YOUR_SECRET_KEY": "secret",
        "REGION": "us-east-1",
        "Something": Something,
    }
    with Loud(plain.hosts) as setup:
        setup.models.create(MODEL)
    run_examples([example], names)
    loud = names["loud"]
    assert loud.info()["version"] == "1.6.0", "the client that was made works"
    loud.close()
    names.clear()
    gc.collect()  # clients that an example replaced close when they are collected


def test_first_example_prints_the_state(servers, capsys):
    plain, _ = servers
    test_example_runs_as_printed(EXAMPLES[0], servers, capsys)
    assert capsys.readouterr().out == "{'trained': False}\n"
    (request,) = plain.traffic.seen("GET", "/models/first_model")
    assert request.target == "/models/first_model?fields=settings%3Bstate&include_fields=true"


def example_with(text):
    (found,) = [example for example in EXAMPLES if text in example.source]
    return found


def test_aws_example_signs_its_requests(servers, capsys):
    _, secure = servers
    test_example_runs_as_printed(example_with("AWS4Auth"), servers, capsys)
    headers = dict(secure.traffic.seen("GET", "/")[0].request_headers)
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=key/")
    assert "x-amz-date" in headers


def test_sniffing_example_finds_the_nodes(servers):
    plain, _ = servers
    names = {}
    run_examples([example_with("sniff_on_start")], names)
    pool = names["loud"].transport.connection_pool
    assert [connection.host for connection in pool.connections] == [plain.url]
    assert names["loud"].transport.sniffer_timeout == 60
    names.pop("loud").close()
    gc.collect()


def test_other_examples_mean_what_the_text_says(servers, capsys):
    names = {"Loud": Loud, "Something": Something}
    run_examples([example_with("SetEncoder")], names)
    serializer = names["loud"].transport.serializer
    assert serializer.dumps({"a": {1}, "b": Something()}) == (
        '{"a":[1],"b":"CustomSomethingRepresentation"}'
    )
    assert isinstance(serializer, JSONSerializer)
    names["loud"].close()

    run_examples([example_with("maxsize")], names)
    assert names["loud"].transport.kwargs == {"maxsize": 25}
    names["loud"].close()

    run_examples([example_with("send_get_body_as")], names)
    assert names["loud"].transport.send_get_body_as == "POST"
    names["loud"].close()
    assert names["loud"].transport.connection_class is Urllib3HttpConnection
    names.clear()
    gc.collect()
