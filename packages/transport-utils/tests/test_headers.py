"""Headers keep repeated fields, ignore case, refuse injection and hide secrets."""

import pytest
from transport_utils.errors import LocalProtocolError
from transport_utils.headers import Headers


def test_lookup_ignores_case_and_keeps_the_case_given():
    headers = Headers({"Content-Type": "text/plain"})
    assert headers["content-type"] == "text/plain"
    assert list(headers) == ["Content-Type"]


def test_repeated_fields_are_kept_in_order():
    headers = Headers([("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("Vary", "x"), ("vary", "y")])
    assert headers.get_all("SET-COOKIE") == ["a=1", "b=2"]
    assert headers["vary"] == "x, y"
    assert len(headers) == 2


@pytest.mark.parametrize(
    ("name", "value"), [("a b", "x"), ("", "x"), ("x", "a\r\nb: c"), ("x", "\0"), ("x", "€")]
)
def test_injection_is_refused(name, value):
    with pytest.raises(LocalProtocolError):
        Headers({name: value})


def test_repr_hides_credentials_and_keeps_the_scheme():
    shown = repr(Headers({"Authorization": "Basic c2VjcmV0", "X-V3io-Session-Key": "key"}))
    assert "c2VjcmV0" not in shown
    assert "'key'" not in shown
    assert "Basic <hidden>" in shown
