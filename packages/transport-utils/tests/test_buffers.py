"""What the hint to the C library is worth, and that it is given once."""

import os
import platform
import subprocess
import sys

import pytest
from transport_utils import buffers

PROGRAM = """
import resource, sys
from transport_utils.buffers import keep_buffers

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        whole = b"".join([b"x" * 1400 for _ in range(1000)])
        whole + b"!"
        del whole
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20

faults()
before = faults()
keep_buffers(1_400_000)
faults()
print(before, faults())
"""


def page_faults(environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return map(float, done.stdout.split())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries take no notice")
def test_messages_of_a_size_fault_no_pages_in_once_it_was_told():
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    before, after = page_faults(environment)
    assert before > 100
    assert after < 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries take no notice")
def test_a_threshold_set_in_the_environment_stands():
    before, after = page_faults({**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"})
    assert before > 100
    assert after > 100


def test_the_hint_is_given_again_for_larger_buffers_only(monkeypatch):
    monkeypatch.setattr(buffers, "_kept", 0)
    given = []
    monkeypatch.setattr(buffers, "bytes", given.append, raising=False)
    for size in (1000, 500, 1000, 2000, 2**40, 2**41):
        buffers.keep_buffers(size)
    assert given == [4000, 8000, 2**25 - 2**14]
