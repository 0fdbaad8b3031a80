"""Every example of the documentation runs and prints what the page says."""

import contextlib
import pathlib

import pytest
import zmq
from mock_servers.doc_examples import find_examples, run_page
from pylm.security import stop_authenticator

DOCS = pathlib.Path(__file__).parent.parent / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
SEED = pathlib.Path(__file__).parent / "seed" / "introduction.rst"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("ignore:The global interpreter lock")
def test_the_examples_of_a_page_run(page, address, tmp_path):
    def fresh(count):
        return [address() for _ in range(count)]

    db, pull, pub = fresh(3)
    with contextlib.ExitStack() as stack:
        stack.callback(stop_authenticator, zmq.Context.instance())
        names = {"fresh": fresh, "db": db, "pull": pull, "pub": pub, "folder": str(tmp_path)}
        count = run_page(DOCS / page, names)
    expected = sum(
        1 for each in find_examples(DOCS / page) if each.language == "python" and not each.skipped
    )
    assert count == expected


def test_every_program_the_seed_includes_exists():
    included = [
        line.partition("literalinclude::")[2].strip()
        for line in SEED.read_text("utf-8").splitlines()
        if "literalinclude" in line
    ]
    assert len(included) == 6
    for path in included:
        assert (DOCS / path).exists()


def test_line_six_of_the_seeds_client_is_the_call():
    lines = (DOCS / "examples" / "standalone_single" / "client.py").read_text("utf-8").splitlines()
    assert lines[5] == 'result = client.job("foo", b"a message")'
