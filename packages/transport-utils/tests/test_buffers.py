"""When the C library is told to keep buffers; what that is worth is measured by the benchmarks of v3io and pylm."""

from transport_utils import buffers


def test_the_hint_is_given_again_for_larger_buffers_only(monkeypatch):
    monkeypatch.setattr(buffers, "_kept", 0)
    given = []
    monkeypatch.setattr(buffers, "bytes", given.append, raising=False)
    for size in (1000, 500, 1000, 2000, 2**40, 2**41):
        buffers.keep_buffers(size)
    assert given == [4000, 8000, 2**25 - 2**14]
