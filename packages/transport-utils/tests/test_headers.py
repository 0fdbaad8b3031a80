"""Headers keep repeated fields, ignore case, refuse injection and hide secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


tokens = st.text(st.sampled_from("abcXYZ-_09"), min_size=1, max_size=4)
values = st.text(st.characters(max_codepoint=255, exclude_characters="\x00\r\n"), max_size=8)
fields = st.lists(st.tuples(tokens, values), max_size=12)


@given(fields, tokens)
def test_look_up_agrees_with_a_plain_list(pairs, name):
    headers = Headers(pairs)
    found = [value for field, value in pairs if field.lower() == name.lower()]
    assert headers.get_all(name) == found
    assert (name in headers) is bool(found)
    assert headers.items_all() == pairs
    assert len(headers) == len({field.lower() for field, _ in pairs}) == len(list(headers))
    if found:
        assert headers[name.swapcase()] == ", ".join(found)


@given(fields, tokens, values)
def test_setting_leaves_one_field_and_deleting_none(pairs, name, value):
    headers = Headers(pairs)
    headers[name] = value
    assert headers.get_all(name) == [value]
    others = [pair for pair in pairs if pair[0].lower() != name.lower()]
    assert [pair for pair in headers.items_all() if pair[0].lower() != name.lower()] == others
    del headers[name]
    assert headers.items_all() == others
    with pytest.raises(KeyError):
        del headers[name]


@given(fields)
def test_received_bytes_and_given_text_are_the_same_headers(pairs):
    raw = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    received = Headers.from_raw(raw)
    assert received == Headers(pairs) == received.copy()
    assert received != Headers([*pairs, ("extra", "field")])


@given(st.text(), st.text())
def test_a_field_is_either_refused_or_cannot_break_the_message(name, value):
    try:
        headers = Headers({name: value})
    except LocalProtocolError:
        return
    ((sent_name, sent_value),) = headers.items_all()
    line = f"{sent_name}: {sent_value}".encode("latin-1")
    assert not set(line) & {0, 10, 13}
    assert ":" not in sent_name


def test_no_secret_is_shown_however_it_is_spelled():
    headers = Headers(
        {"AUTHORIZATION": "Bearer hunter2", "Cookie": "hunter2", "X-Api-Token": "hunter2"}
    )
    assert "hunter2" not in repr(headers)
    assert "Bearer <hidden>" in repr(headers)
