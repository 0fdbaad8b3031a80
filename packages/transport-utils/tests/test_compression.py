import gzip
import io
import os
import random
import sys
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from transport_utils import compression
from transport_utils.compression import (
    BodyDecoder,
    Compression,
    DecodeLimits,
    accept_encoding,
    decode_body,
)
from transport_utils.errors import (
    BadResponse,
    ConfigurationError,
    DecodeBomb,
    SerializationError,
    TruncatedBody,
)

ENCODINGS = ("br", "deflate", "gzip", "zstd")
TEXT = b'{"key": "value"}' * 1000

raw_deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
RAW_DEFLATE = raw_deflate.compress(TEXT) + raw_deflate.flush()


@given(st.sampled_from(ENCODINGS), st.binary(max_size=2000), st.integers(0, 9), st.data())
def test_every_body_comes_back_however_it_is_cut(encoding, body, level, data):
    packed = compression._COMPRESSORS[encoding](body, level)
    decoder = BodyDecoder(encoding)
    out = b""
    rest = packed
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        out += b"".join(decoder.decode(rest[:cut]))
        rest = rest[cut:]
    decoder.finish()
    assert out == body


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("GZIP", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", RAW_DEFLATE),
        ("br", brotli.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT[:100]) + zstandard.compress(TEXT[100:])),
        ("gzip, br", brotli.compress(gzip.compress(TEXT))),
        ("identity", TEXT),
        ("", TEXT),
        (None, TEXT),
    ],
)
def test_what_other_libraries_write_is_read(encoding, packed):
    assert decode_body(packed, encoding) == TEXT


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_we_write_is_read_by_other_libraries(encoding):
    read = {"br": brotli.decompress, "deflate": zlib.decompress, "gzip": gzip.decompress}
    read["zstd"] = lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)
    packed = Compression(encoding).compress(TEXT)
    assert len(packed) < len(TEXT) / 10
    assert read[encoding](packed) == TEXT


def test_compressing_twice_gives_the_same_bytes():
    assert Compression().compress(TEXT) == Compression().compress(TEXT)


def test_short_bodies_and_bodies_that_would_grow_are_sent_as_they_are():
    assert Compression().compress(b"x" * 1023) is None
    assert Compression().compress(b"x" * 1024) is not None
    assert Compression(min_size=0).compress(os.urandom(2000)) is None
    assert Compression(min_size=0).compress(b"") is None


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("cut", [1, 3, 10, 40])
def test_a_body_that_stops_in_the_middle_is_an_error(encoding, cut):
    packed = compression._COMPRESSORS[encoding](random.Random(1).randbytes(1000), 1)
    with pytest.raises(TruncatedBody, match=encoding):
        decode_body(packed[:-cut], encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_body_in_another_encoding_is_an_error(encoding):
    with pytest.raises(BadResponse, match=encoding):
        decode_body(b"\xff" * 100, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_data_after_the_end_is_an_error(encoding):
    packed = compression._COMPRESSORS[encoding](TEXT, 1)
    decoder = BodyDecoder(encoding)
    list(decoder.decode(packed))
    with pytest.raises(BadResponse):
        list(decoder.decode(b"\x01garbage"))


@pytest.mark.parametrize("encoding", ["lzma", "gzip, lzma"])
def test_an_unknown_encoding_is_named(encoding):
    with pytest.raises(SerializationError, match="lzma"):
        decode_body(b"x", encoding)


def bomb(encoding, size):
    if encoding == "gzip":
        out = io.BytesIO()
        with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as file:
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
        return out.getvalue()
    return compression._COMPRESSORS[encoding](bytes(size), 9)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_stopped_by_its_ratio_long_before_it_has_grown(encoding):
    parts = BodyDecoder(encoding).decode(bomb(encoding, 96 << 20))
    sizes = []
    with pytest.raises(DecodeBomb, match="250 times"):
        sizes.extend(len(part) for part in parts)
    assert sum(sizes) <= 36 << 20


def test_nested_compression_does_not_hide_a_bomb():
    twice = gzip.compress(bomb("gzip", 96 << 20), 9)
    with pytest.raises(DecodeBomb):
        decode_body(twice, "gzip, gzip")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_body_beyond_the_size_limit_is_stopped(encoding):
    packed = compression._COMPRESSORS[encoding](TEXT, 1)
    with pytest.raises(DecodeBomb, match="max_size=15999"):
        decode_body(packed, encoding, DecodeLimits(max_size=len(TEXT) - 1))
    assert decode_body(packed, encoding, DecodeLimits(max_size=len(TEXT))) == TEXT


def test_limits_can_be_lifted():
    packed = bomb("gzip", 40 << 20)
    assert len(decode_body(packed, "gzip", DecodeLimits(max_size=None, max_ratio=None))) == 40 << 20


def test_what_is_offered_is_what_is_installed(monkeypatch):
    assert accept_encoding() == "zstd, br, gzip, deflate"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "version_info", (3, 13))
    compression.available_encodings.cache_clear()
    accept_encoding.cache_clear()
    try:
        assert accept_encoding() == "gzip, deflate"
        with pytest.raises(ConfigurationError, match=r"pip install transport-utils\[zstd\]"):
            Compression("zstd")
        with pytest.raises(SerializationError, match=r"pip install transport-utils\[brotli\]"):
            decode_body(b"x", "br")
    finally:
        compression.available_encodings.cache_clear()
        accept_encoding.cache_clear()


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "lzma"},
        {"level": 10},
        {"level": -1},
        {"level": True},
        {"encoding": "zstd", "level": 0},
        {"encoding": "br", "level": 12},
        {"min_size": -1},
        {"min_size": 1.5},
    ],
)
def test_bad_options_are_refused_at_construction(options):
    with pytest.raises(ConfigurationError, match="compression"):
        Compression(**options)


def test_limits_must_be_above_zero():
    with pytest.raises(ConfigurationError):
        DecodeLimits(max_size=0)


def test_what_users_write_becomes_a_compression():
    assert Compression.coerce(True) == Compression()
    assert Compression.coerce("zstd") == Compression("zstd")
    assert Compression.coerce(Compression(level=6)).level == 6
    assert Compression.coerce(False) is Compression.coerce(None) is None
    with pytest.raises(ConfigurationError):
        Compression.coerce("lzma")
