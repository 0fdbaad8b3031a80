import base64

import pytest
from transport_utils.auth import BasicAuth, BearerAuth, coerce_auth
from transport_utils.errors import ConfigurationError


def test_basic_is_sent_as_utf8():
    headers = BasicAuth("user", "pä:ss")("GET", "/", None)
    assert (
        base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == "user:pä:ss"
    )


def test_bearer_asks_for_the_current_token_each_time():
    tokens = iter(["one", "two"])
    auth = BearerAuth(lambda: next(tokens))
    assert [auth("GET", "/", None)["authorization"] for _ in range(2)] == [
        "Bearer one",
        "Bearer two",
    ]
    assert BearerAuth("t")("GET", "/", None) == {"authorization": "Bearer t"}


def test_no_secret_is_shown():
    assert "pass" not in repr(BasicAuth("user", "pass"))
    assert "token" not in repr(BearerAuth("token"))


def test_what_users_write_becomes_an_auth_object():
    expected = BasicAuth("u", "p")("", "", None)
    assert coerce_auth(("u", "p"))("", "", None) == expected
    assert coerce_auth(["u", "p"])("", "", None) == expected
    assert coerce_auth("u:p")("", "", None) == expected
    bearer = BearerAuth("t")
    assert coerce_auth(bearer) is bearer
    assert coerce_auth(None) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: BasicAuth("a:b", "c"),
        lambda: BasicAuth("a", "b\r\n"),
        lambda: BasicAuth(None, "b"),
        lambda: BearerAuth(""),
        lambda: BearerAuth("a b"),
        lambda: BearerAuth("ä"),
        lambda: BearerAuth(None),
        lambda: coerce_auth("user"),
        lambda: coerce_auth(("a", "b", "c")),
        lambda: coerce_auth(5),
    ],
)
def test_bad_credentials_are_refused_without_being_shown(build):
    with pytest.raises(ConfigurationError):
        build()
