"""Requests through an HTTP proxy."""

from __future__ import annotations

import base64
import re
import zlib


def test_a_message_goes_to_the_proxy_in_absolute_form_with_its_credentials(recorder, make_pair):
    proxy = f"http://u:p@{recorder.hostname}/"
    reader, writer = make_pair("ramen.example", proxy=proxy)
    writer.push("m", "t", "v1", {"a": 1}, reqid="r")
    assert reader.consume_one() == reader.ACCEPTED
    lines, body = recorder.requests[0]
    assert re.match(
        r"POST http://ramen\.example(:80)?/ramen/v1/m/1099/imx\.t\.v1/\?version=", lines[0]
    )
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    assert fields["proxy-authorization"] == "Basic " + base64.b64encode(b"u:p").decode()
    assert fields["x-api-token"] == "good-token"
    assert fields["content-encoding"] == "gzip"
    assert zlib.decompress(body) == b'{"a":1}'


def test_a_proxy_that_refuses_keeps_the_message(recorder, make_pair):
    recorder.answers = [recorder.reply(407, b"who are you?")]
    reader, writer = make_pair("ramen.example", proxy=f"http://{recorder.hostname}/")
    writer.push("m", "t", "v1", {})
    assert reader.consume_one() == reader.RETRY
    assert writer.queue_size() == 1


def test_a_proxy_that_is_not_there_keeps_the_message(make_pair):
    reader, writer = make_pair("ramen.example", proxy="http://127.0.0.1:1/")
    writer.push("m", "t", "v1", {})
    assert reader.consume_one() == reader.RETRY
    assert reader.stats.last_error
