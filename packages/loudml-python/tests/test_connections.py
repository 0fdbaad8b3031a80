"""The connection classes: headers, authentication, compression, TLS, limits."""

import base64
import gzip
import json
import socket
import ssl
import threading

import pytest
import trustme
from loudml import (
    Connection,
    ConnectionError,
    ConnectionTimeout,
    ImproperlyConfigured,
    Loud,
    NativeHttpConnection,
    RequestsHttpConnection,
    SSLError,
    Urllib3HttpConnection,
)
from loudml.connection import create_ssl_context
from loudml.connection.pooling import PoolingConnection
from mock_servers.loudml import LoudmlServer
from requests_aws4auth import AWS4Auth
from transport_utils.auth import BearerAuth
from transport_utils.compression import Compression
from transport_utils.deadline import Timeout

CONNECTION_CLASSES = [NativeHttpConnection, Urllib3HttpConnection, RequestsHttpConnection]


@pytest.fixture(params=CONNECTION_CLASSES, ids=lambda one: one.__name__)
def connection_class(request):
    return request.param


@pytest.fixture
def ask(recording_server, connection_class):
    """Return a function that makes one request with options and gives its headers and body."""

    def ask(call=lambda loud: loud.models.get(), **options):
        server = recording_server()
        with Loud(server.host, connection_class=connection_class, **options) as loud:
            call(loud)
        head, body = server.requests[-1]
        lines = head.decode("latin-1").split("\r\n")[1:]
        return dict(line.split(": ", 1) for line in lines), body

    return ask


def test_default_headers(ask):
    headers, body = ask()
    assert headers.pop("host").startswith("127.0.0.1:")
    assert headers == {
        "accept-encoding": "identity",
        "user-agent": "loudml-python/1.7.0",
        "connection": "keep-alive",
        "content-type": "application/json",
    }
    assert body == b""


@pytest.mark.parametrize(
    ("auth", "token"),
    [
        (("user", "p:ä"), "user:p:ä".encode("latin-1")),
        (["user", "secret"], b"user:secret"),
        ("user:secret", b"user:secret"),
        (("user", "中"), "user:中".encode()),
    ],
)
def test_basic_authentication(ask, auth, token):
    headers, _ = ask(http_auth=auth)
    assert headers["authorization"] == f"Basic {base64.b64encode(token).decode()}"


def test_headers_win_over_authentication(ask):
    headers, _ = ask(http_auth="u:p", headers={"Authorization": "Bearer x", "X-A": "b"})
    assert (headers["authorization"], headers["x-a"]) == ("Bearer x", "b")


def test_headers_of_one_request_win_over_all(ask):
    headers, _ = ask(
        lambda loud: loud.transport.perform_request("GET", "/", headers={"X-A": "2"}),
        headers={"x-a": "1"},
    )
    assert headers["x-a"] == "2"


@pytest.mark.parametrize("connection", [NativeHttpConnection, Urllib3HttpConnection])
def test_callables_sign_each_request(recording_server, connection):
    seen = []

    def sign(method, target, body):
        seen.append((method, target, body))
        return {"authorization": f"Signed {len(seen)}"}

    server = recording_server()
    with Loud(server.host, connection_class=connection, http_auth=sign, url_prefix="/p") as loud:
        loud.models.get(fields="a")
        loud.models.create({"a": 1})
    assert seen == [("GET", "/p/models?fields=a", None), ("POST", "/p/models", b'{"a":1}')]
    assert b"authorization: Signed 2" in server.requests[-1][0]
    with Loud(server.host, connection_class=connection, http_auth=BearerAuth("token")) as loud:
        loud.models.get()
    assert b"authorization: Bearer token" in server.requests[-1][0]


def test_auth_objects_of_requests_need_its_connection_class():
    auth = AWS4Auth("key", "secret", "eu-west-1", "es")
    for connection in (NativeHttpConnection, Urllib3HttpConnection):
        with pytest.raises(ImproperlyConfigured, match="connection_class=RequestsHttpConnection"):
            Loud(http_auth=auth, connection_class=connection)


@pytest.mark.parametrize("auth", [5, ("a",), "no-colon", ("a", "b", "c"), {}])
def test_other_auth_is_refused(connection_class, auth):
    with pytest.raises(ImproperlyConfigured, match="http_auth of type") as error:
        Loud(http_auth=auth, connection_class=connection_class)
    assert "no-colon" not in str(error.value)


def test_bodies_are_compressed_from_a_size_on(ask):
    headers, body = ask(lambda loud: loud.models.create({"a": "x" * 2000}), http_compress=True)
    assert headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(body)) == {"a": "x" * 2000}
    assert headers["content-length"] == str(len(body))
    for call in (lambda loud: loud.models.create({"a": 1}), lambda loud: loud.models.get()):
        headers, _ = ask(call, http_compress=True)
        assert "content-encoding" not in headers
        assert headers["accept-encoding"] == "gzip,deflate"


def test_compression_can_be_tuned(ask):
    headers, _ = ask(
        lambda loud: loud.models.create({"a": "x" * 2000}),
        http_compress=Compression("deflate", level=9, min_size=10),
    )
    assert headers["content-encoding"] == "deflate"


def test_compressed_answers_are_read(recording_server, http_reply, connection_class):
    body = gzip.compress(b'["' + b"x" * 5000 + b'"]')
    server = recording_server(lambda head, _: http_reply(200, body, Content_Encoding="gzip"))
    with Loud(server.host, connection_class=connection_class, http_compress=True) as loud:
        assert loud.models.get() == ["x" * 5000]


def test_broken_compressed_answers_are_an_error_that_says_so(
    recording_server, http_reply, connection_class
):
    server = recording_server(lambda head, _: http_reply(200, b"no", Content_Encoding="gzip"))
    client = Loud(server.host, connection_class=connection_class, max_retries=0)
    with client, pytest.raises(ConnectionError, match="gzip"):
        client.models.get()


def test_a_post_whose_answer_is_broken_is_sent_once(recording_server, http_reply, connection_class):
    server = recording_server(lambda head, _: http_reply(200, b"no", Content_Encoding="gzip"))
    client = Loud(server.host, connection_class=connection_class)
    with client, pytest.raises(ConnectionError, match="gzip"):
        client.models.create({"a": 1})
    assert len(server.requests) == 1


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secure(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    with LoudmlServer(tick_s=0.02, ssl_context=context) as server:
        yield server


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def version_of(server, connection_class, **options):
    with Loud(
        server.hosts, connection_class=connection_class, use_ssl=True, max_retries=1, **options
    ) as loud:
        return loud.version()


@pytest.fixture(autouse=True)
def no_bundles_of_the_machine(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def test_certificates_are_verified(secure, connection_class, ca_file):
    assert version_of(secure, connection_class, ca_certs=ca_file) == "1.6.0"
    with pytest.raises(SSLError) as error:
        version_of(secure, connection_class)
    assert len(error.value.attempts) == 1, "a certificate does not get better by trying again"


def test_verification_can_be_switched_off_with_a_warning(secure, connection_class):
    with pytest.warns(UserWarning, match="verify_certs=False is insecure"):
        assert version_of(secure, connection_class, verify_certs=False) == "1.6.0"


def fingerprint_of(server):
    host, _, port = server.nodes[0].host.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, int(port))) as sock,
        context.wrap_socket(sock) as secured,
    ):
        import hashlib

        return hashlib.sha256(secured.getpeercert(binary_form=True)).hexdigest()


# Python 3.10's asyncio forgets to close the server's side of a handshake that the client refused.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_fingerprint_alone_is_enough(secure, connection_class):
    good = fingerprint_of(secure)
    assert version_of(secure, connection_class, ssl_assert_fingerprint=good) == "1.6.0"
    with pytest.raises(SSLError, match="fingerprint"):
        version_of(secure, connection_class, ssl_assert_fingerprint="ab" * 32)


def test_a_context_of_ones_own(secure, connection_class, ca_file):
    context = create_ssl_context(cafile=ca_file)
    assert version_of(secure, connection_class, ssl_context=context) == "1.6.0"
    with pytest.warns(UserWarning, match="all other SSL related kwargs are ignored"):
        version_of(secure, connection_class, ssl_context=context, ca_certs="other.pem")


def test_a_context_without_https_is_refused(connection_class):
    with pytest.raises(ImproperlyConfigured, match="use_ssl=True or scheme='https'"):
        Loud(connection_class=connection_class, ssl_context=create_ssl_context())


def test_host_names_and_versions_can_be_pinned(secure, connection_class, ca_file):
    options = {"ca_certs": ca_file, "ssl_assert_hostname": "localhost"}
    for version in (ssl.TLSVersion.TLSv1_2, ssl.PROTOCOL_TLSv1_2, ssl.PROTOCOL_TLS_CLIENT):
        assert version_of(secure, connection_class, ssl_version=version, **options) == "1.6.0"
    options["ssl_assert_hostname"] = "other.example"
    with pytest.raises(SSLError):
        version_of(secure, connection_class, **options)
    with pytest.raises(ImproperlyConfigured, match="ssl_version"):
        version_of(secure, connection_class, ssl_version=99)


def test_client_certificates(authority, tmp_path, connection_class, ca_file):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    mine = authority.issue_cert("client")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    mine.cert_chain_pems[0].write_to_path(cert)
    mine.private_key_pem.write_to_path(key)
    with LoudmlServer(tick_s=0.02, ssl_context=context) as server:
        options = {"ca_certs": ca_file, "client_cert": str(cert), "client_key": str(key)}
        assert version_of(server, connection_class, **options) == "1.6.0"
        with pytest.raises(ConnectionError):
            version_of(server, connection_class, ca_certs=ca_file)


@pytest.mark.parametrize(
    "options", [{"ca_certs": ""}, {"client_key": "k.pem"}, {"ssl_assert_fingerprint": "xyz"}]
)
def test_contradictory_tls_options_are_refused(connection_class, options):
    with pytest.raises(ImproperlyConfigured):
        Loud(connection_class=connection_class, use_ssl=True, **options)


def test_requests_refuses_authorities_without_verification():
    with pytest.raises(ImproperlyConfigured, match="cannot pass CA certificates"):
        Loud(
            connection_class=RequestsHttpConnection,
            use_ssl=True,
            verify_certs=False,
            ca_certs="ca.pem",
        )


def test_requests_takes_bundle_and_proxy_from_the_environment(
    secure, ca_file, monkeypatch, recording_server, json_reply
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    assert version_of(secure, RequestsHttpConnection) == "1.6.0"
    proxy = recording_server(lambda head, body: json_reply(200, {"version": "by proxy"}))
    monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Loud("http://node.example:8077", connection_class=RequestsHttpConnection) as loud:
        assert loud.version() == "by proxy"
        assert loud.transport.connection_pool.connections[0].session.trust_env is False
    assert proxy.requests[0][0].startswith(b"GET http://node.example:8077/ HTTP/1.1")


def test_connect_timeouts_are_timeouts_and_are_retried(connection_class):
    # A full backlog makes the kernel drop further connection requests.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    options = {"timeout": Timeout(connect=0.1), "max_retries": 1}
    client = Loud(f"127.0.0.1:{port}", connection_class=connection_class, **options)
    with client, pytest.raises(ConnectionTimeout) as error:
        client.info()
    assert len(error.value.attempts) == 2
    for sock in (listener, *fillers):
        sock.close()


def test_maxsize_is_a_limit(recording_server, http_reply, connection_class):
    lock, running, most = threading.Lock(), set(), []
    barrier = threading.Event()

    def answer(head, body):
        with lock:
            running.add(threading.get_ident())
            most.append(len(running))
        barrier.wait(0.02)
        with lock:
            running.discard(threading.get_ident())
        return http_reply(200, b"[]")

    server = recording_server(answer)
    with Loud(server.host, connection_class=connection_class, maxsize=2) as loud:
        threads = [threading.Thread(target=loud.models.get) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 8
    assert max(most) <= 2


def test_prefixes_and_schemes():
    connection = Connection("h", 1, url_prefix="/a/b/", scheme="https")
    assert (connection.host, connection.url_prefix) == ("https://h:1", "/a/b")
    assert connection.use_ssl is True
    assert repr(connection) == "<Connection: https://h:1>"
    with pytest.raises(NotImplementedError):
        connection.perform_request("GET", "/")
    connection.close()


def test_connection_is_described_without_its_credentials():
    loud = Loud("http://u:secret@h", connection_class=NativeHttpConnection)
    (connection,) = loud.transport.connection_pool.connections
    assert "secret" not in repr(connection) + repr(connection._endpoint) + connection.host


def test_pooling_connection_keeps_objects_of_a_library():
    class Thing:
        closed = False

        def close(self):
            self.closed = True

    class Mine(PoolingConnection):
        def _make_connection(self):
            return Thing()

    connection = Mine("h")
    thing = connection._get_connection()
    connection._release_connection(thing)
    assert connection._get_connection() is thing
    connection._release_connection(thing)
    connection._release_connection(object())
    connection.close()
    assert thing.closed
    with pytest.raises(NotImplementedError):
        PoolingConnection("h")._get_connection()


def test_bad_request_timeouts_are_refused(loudml_server):
    with Loud(loudml_server.hosts) as loud, pytest.raises(ImproperlyConfigured, match="timeout"):
        loud.info(request_timeout="soon")


def test_zero_and_none_are_the_timeout_of_the_connection(loudml_server, connection_class):
    with Loud(loudml_server.hosts, connection_class=connection_class, timeout=(1, 2)) as loud:
        for timeout in (0, None, 5, (1.0, 2.0), Timeout(total=3)):
            assert loud.info(request_timeout=timeout)["version"] == "1.6.0"
