"""Compresses request bodies and decompresses response bodies, within limits.

Used by the drivers (requests) and backends (responses). gzip and deflate come with Python; zstd needs Python 3.14 or
the extra ``zstd``, Brotli the extra ``brotli``. Optional libraries are looked for without importing them and imported
at the first body that needs them.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeAlias

from transport_utils.errors import (
    BadResponse,
    ConfigurationError,
    DecodeBomb,
    SerializationError,
    TruncatedBody,
)

__all__ = [
    "DEFAULT_DECODE_LIMITS",
    "BodyDecoder",
    "Compression",
    "DecodeLimits",
    "Encoding",
    "accept_encoding",
    "available_encodings",
    "decode_body",
]

Encoding: TypeAlias = Literal["br", "deflate", "gzip", "zstd"]

_LEVELS: Mapping[str, tuple[int, int]] = {
    "br": (0, 11),
    "deflate": (0, 9),
    "gzip": (0, 9),
    "zstd": (1, 22),
}
_GZIP_WBITS = 16 + zlib.MAX_WBITS
# zstandard decompresses a whole input at once; a slice of this size cannot become more than about 16 MiB.
_ZSTD_SLICE = 512
_OUTPUT_STEP = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Compression:
    """How request bodies are compressed; immutable and shared.

    A body is compressed once per call, not once per attempt, and sent as it is when it is shorter than ``min_size`` or
    would not become smaller. Bodies that are files or iterators are not compressed.

    Args:
        encoding: ``"gzip"``, ``"deflate"``, ``"zstd"`` or ``"br"``.
        level: Effort; 0..9 for gzip and deflate, 1..22 for zstd, 0..11 for br. Level 1 of gzip takes about a twentieth
            of the time of level 9 for a body about a tenth larger.
        min_size: Shortest body that is compressed, bytes, >= 0.

    Raises:
        ConfigurationError: The encoding is unknown or its library is missing, or a figure is out of its range.
    """

    encoding: Encoding = "gzip"
    level: int = 1
    min_size: int = 1024

    def __post_init__(self) -> None:
        if self.encoding not in _LEVELS:
            raise ConfigurationError(
                f"compression {self.encoding!r}: expected one of {', '.join(sorted(_LEVELS))}"
            )
        if self.encoding not in available_encodings():
            raise ConfigurationError(f"compression {self.encoding!r}: {_HOW_TO_GET[self.encoding]}")
        lowest, highest = _LEVELS[self.encoding]
        if (
            isinstance(self.level, bool)
            or not isinstance(self.level, int)
            or not lowest <= self.level <= highest
        ):
            raise ConfigurationError(
                f"compression level {self.level!r}: expected {lowest}..{highest} for {self.encoding}"
            )
        if (
            isinstance(self.min_size, bool)
            or not isinstance(self.min_size, int)
            or self.min_size < 0
        ):
            raise ConfigurationError(f"compression min_size {self.min_size!r}: expected bytes >= 0")

    @classmethod
    def coerce(cls, value: Compression | Encoding | bool | None) -> Compression | None:
        """Return what users write as a ``Compression``.

        Args:
            value: ``True`` for the default, the name of an encoding, ``False`` or ``None`` for none.

        Raises:
            ConfigurationError: Anything else.
        """
        if value is None or value is False:
            return None
        if value is True:
            return cls()
        return value if isinstance(value, Compression) else cls(value)

    def compress(self, body: bytes) -> bytes | None:
        """Return the body to send with ``content-encoding``; ``None`` when it is better sent as it is."""
        if len(body) < self.min_size:
            return None
        compressed = _COMPRESSORS[self.encoding](body, self.level)
        return compressed if len(compressed) < len(body) else None


@dataclasses.dataclass(frozen=True, slots=True)
class DecodeLimits:
    """How far a compressed response may grow.

    Args:
        max_size: Largest decompressed body, bytes; ``None`` for no limit.
        max_ratio: Largest factor by which a body may grow; ``None`` for no limit.
        ratio_from: Decompressed size from which the ratio counts, bytes: small bodies of few symbols compress
            extremely well and do no harm.

    Raises:
        ConfigurationError: A figure is not above 0.
    """

    max_size: int | None = 1 << 30
    max_ratio: float | None = 250.0
    ratio_from: int = 16 << 20

    def __post_init__(self) -> None:
        for name in ("max_size", "max_ratio", "ratio_from"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(
                    f"decode limit {name}={value!r}: expected a number above 0"
                )


DEFAULT_DECODE_LIMITS = DecodeLimits()
"""1 GiB, and at most 250 times the compressed size once 16 MiB are passed."""


class BodyDecoder:
    """Decompresses one response body piece by piece; belongs to that response.

    Args:
        content_encoding: The header's value: one or more encodings, in the order they were applied.
        limits: How far the body may grow.

    Raises:
        SerializationError: An encoding is unknown, or its library is missing.
    """

    def __init__(self, content_encoding: str, limits: DecodeLimits = DEFAULT_DECODE_LIMITS) -> None:
        names = [name.strip().lower() for name in content_encoding.split(",")]
        self._stages = [
            _make_stage(name) for name in reversed(names) if name not in ("", "identity")
        ]
        self._limits = limits
        self._received = 0
        self._produced = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what a piece of the body becomes, in parts of a bounded size.

        Raises:
            DecodeBomb: The body grows beyond the limits.
            BadResponse: It is not in the encoding announced.
        """
        self._received += len(data)
        for part in self._through(0, data):
            self._produced += len(part)
            self._check()
            yield part

    def finish(self) -> None:
        """Say that the whole body was given.

        Raises:
            TruncatedBody: The compressed data stops in the middle.
        """
        for stage in self._stages:
            if self._received and not stage.complete:
                raise TruncatedBody(
                    f"the {stage.name} body stops after {self._received} bytes, before its end"
                )

    def _through(self, index: int, data: bytes) -> Iterator[bytes]:
        if index == len(self._stages):
            if data:
                yield data
            return
        for part in self._stages[index].decode(data):
            yield from self._through(index + 1, part)

    def _check(self) -> None:
        limits = self._limits
        if limits.max_size is not None and self._produced > limits.max_size:
            raise DecodeBomb(
                f"the body grows beyond max_size={limits.max_size} bytes when decompressed ({self._received} received)"
            )
        if (
            limits.max_ratio is not None
            and self._produced > limits.ratio_from
            and self._produced > limits.max_ratio * self._received
        ):
            raise DecodeBomb(
                f"the body grows to more than {limits.max_ratio:g} times its size when decompressed "
                f"({self._received} bytes received, {self._produced} so far)"
            )


def decode_body(
    data: bytes, content_encoding: str | None, limits: DecodeLimits = DEFAULT_DECODE_LIMITS
) -> bytes:
    """Return a whole body decompressed; ``data`` itself without an encoding.

    Raises:
        DecodeBomb: It grows beyond the limits.
        BadResponse: It is not in the encoding announced.
        SerializationError: The encoding is unknown, or its library is missing.
        TruncatedBody: It stops in the middle.
    """
    if not content_encoding or not data:
        return data
    decoder = BodyDecoder(content_encoding, limits)
    body = b"".join(decoder.decode(data))
    decoder.finish()
    return body


@functools.cache
def available_encodings() -> frozenset[str]:
    """Return the encodings that can be read and written here."""
    found = {"deflate", "gzip"}
    if sys.version_info >= (3, 14) or importlib.util.find_spec("zstandard"):
        found.add("zstd")
    if importlib.util.find_spec("brotli"):
        found.add("br")
    return frozenset(found)


@functools.cache
def accept_encoding() -> str:
    """Return the value of ``accept-encoding`` for what is installed, best first."""
    return ", ".join(
        name for name in ("zstd", "br", "gzip", "deflate") if name in available_encodings()
    )


_HOW_TO_GET: Mapping[str, str] = {
    "br": "needs the library 'brotli': pip install transport-utils[brotli]",
    "zstd": "needs Python 3.14 or the library 'zstandard': pip install transport-utils[zstd]",
}


class _Stage(Protocol):
    """One encoding of a body."""

    name: str

    @property
    def complete(self) -> bool: ...

    def decode(self, data: bytes) -> Iterator[bytes]: ...


def _make_stage(name: str) -> _Stage:
    name = {"x-gzip": "gzip"}.get(name, name)
    if name not in _STAGES:
        raise SerializationError(
            f"content-encoding {name!r}: unknown; known are {', '.join(sorted(_STAGES))}"
        )
    if name not in available_encodings():
        raise SerializationError(f"content-encoding {name!r}: {_HOW_TO_GET[name]}")
    return _STAGES[name]()


class _ZlibStage:
    """gzip, with any number of members, and deflate, with or without the zlib header (servers send both)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.complete = False
        self._inflate: Any = None
        self._head = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflate is None:
                if self.complete and self.name == "deflate":
                    raise BadResponse("data after the end of the deflate body")
                data = self._head + data
                if len(data) < 2:
                    self._head = data
                    self.complete = False
                    return
                self._head = b""
                self._inflate = zlib.decompressobj(self._wbits(data))
                self.complete = False
            try:
                part = self._inflate.decompress(data, _OUTPUT_STEP)
            except zlib.error as cause:
                raise BadResponse(f"the body is not valid {self.name}: {cause}") from cause
            data = self._inflate.unconsumed_tail
            if part:
                yield part
            if self._inflate.eof:
                data = self._inflate.unused_data
                self._inflate = None
                self.complete = True

    def _wbits(self, data: bytes) -> int:
        if self.name == "gzip":
            return _GZIP_WBITS
        has_header = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


class _ZstdStage:
    """zstd, with any number of frames."""

    name = "zstd"

    def __init__(self) -> None:
        self.complete = False
        self._native = sys.version_info >= (3, 14)
        self._decompress: Any = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._decompress is None:
                self._decompress = self._start()
                self.complete = False
            try:
                if self._native:
                    part = self._decompress.decompress(data, _OUTPUT_STEP)
                    data = b""
                    while not self._decompress.eof and not self._decompress.needs_input:
                        if part:
                            yield part
                        part = self._decompress.decompress(b"", _OUTPUT_STEP)
                else:
                    piece, data = data[:_ZSTD_SLICE], data[_ZSTD_SLICE:]
                    part = self._decompress.decompress(piece)
            except _zstd().error as cause:
                raise BadResponse(f"the body is not valid zstd: {cause}") from cause
            if part:
                yield part
            if self._decompress.eof:
                data = self._decompress.unused_data + data
                self._decompress = None
                self.complete = True

    def _start(self) -> Any:
        return _zstd().decompressor()


class _BrotliStage:
    """Brotli."""

    name = "br"

    def __init__(self) -> None:
        self._library = importlib.import_module("brotli")
        self._decompressor = self._library.Decompressor()

    @property
    def complete(self) -> bool:
        return bool(self._decompressor.is_finished())

    def decode(self, data: bytes) -> Iterator[bytes]:
        if data and self.complete:
            raise BadResponse("data after the end of the br body")
        while data or not self._decompressor.can_accept_more_data():
            try:
                part = self._decompressor.process(data, output_buffer_limit=_OUTPUT_STEP)
            except self._library.error as cause:
                raise BadResponse(f"the body is not valid br: {cause}") from cause
            data = b""
            if part:
                yield part
            elif self.complete:
                return


_STAGES: Mapping[str, Callable[[], _Stage]] = {
    "br": _BrotliStage,
    "deflate": functools.partial(_ZlibStage, "deflate"),
    "gzip": functools.partial(_ZlibStage, "gzip"),
    "zstd": _ZstdStage,
}


@dataclasses.dataclass(frozen=True, slots=True)
class _ZstdLibrary:
    """The same three things from the standard library or from zstandard."""

    error: type[Exception]
    compress: Callable[[bytes, int], bytes]
    decompressor: Callable[[], Any]


@functools.cache
def _zstd() -> _ZstdLibrary:
    if sys.version_info >= (3, 14):
        module: Any = importlib.import_module("compression.zstd")
        return _ZstdLibrary(
            module.ZstdError,
            lambda body, level: module.compress(body, level=level),
            module.ZstdDecompressor,
        )
    zstandard = importlib.import_module("zstandard")
    return _ZstdLibrary(
        zstandard.ZstdError,
        lambda body, level: zstandard.ZstdCompressor(level=level).compress(body),
        lambda: zstandard.ZstdDecompressor().decompressobj(),
    )


def _compress_zlib(body: bytes, level: int, wbits: int) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, wbits)
    return compressor.compress(body) + compressor.flush()


_COMPRESSORS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "br": lambda body, level: importlib.import_module("brotli").compress(body, quality=level),
    "deflate": functools.partial(_compress_zlib, wbits=zlib.MAX_WBITS),
    "gzip": functools.partial(_compress_zlib, wbits=_GZIP_WBITS),
    "zstd": lambda body, level: _zstd().compress(body, level),
}
