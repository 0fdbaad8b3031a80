"""Every Python example of the documentation runs as printed, on a local Golem."""

import pathlib
import subprocess
import sys

import pytest
from mock_servers.doc_examples import Example, find_examples, run_examples
from ya_httpx_client import Session, SimpleLoadBalancer
from ya_httpx_client.target_load import TargetLoad

HERE = pathlib.Path(__file__).parent
PACKAGE = HERE.parent.parent
EXAMPLES = PACKAGE / "docs/examples"
IMAGE_HASH = "ab" * 28
CALCULATOR_HASH = "ca1c" * 14
ENTRYPOINT = (
    "/bin/sh",
    "-c",
    f"{sys.executable} /golem/run/server.py 0.0.0.0:80 >/dev/null 2>&1 &",
)

# What a reader of the page has typed before, and what shows afterwards that the examples did their work.
SESSION = """
session = Session({"budget": 1, "subnet_tag": "public"})
"""
SERVICE = (
    SESSION
    + """
session.add_url("http://calc", IMAGE_HASH, ENTRYPOINT)
"""
)
PAGES = {
    "README.md": ("", ""),
    "docs/quickstart.md": (
        SESSION,
        """
async with session.client() as client:
    answer = await client.get("http://calc/add/3/4")
await session.close()
assert answer.text == "7"
""",
    ),
    "docs/load-balancing.md": (
        SERVICE,
        """
cluster = session.clusters["http://calc"]
async with session.client() as client:
    answer = await client.get("http://calc/echo")
wanted = size(cluster), cluster.expected_cnt
await session.close()
assert answer.status_code == 200
assert wanted[0] == 1
assert isinstance(wanted[1], TargetLoad)
""",
    ),
    "docs/public-network.md": ("", "await session.close()"),
    "docs/delivery.md": (
        SERVICE
        + """
opened = session.client()
client = await opened.__aenter__()
job = {"day": 1}
""",
        """
await opened.__aexit__(None, None, None)
await session.close()
assert session.stats()["http://calc"].served == 1
""",
    ),
}


def pages():
    """Return the pages that hold Python examples."""
    found = [PACKAGE / "README.md", *sorted((PACKAGE / "docs").glob("*.md"))]
    return {
        str(page.relative_to(PACKAGE))
        for page in found
        if any(example.language in ("python", "pycon") for example in find_examples(page))
    }


def test_every_page_with_examples_is_run():
    assert pages() == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run_as_printed(page, make_seed_golem, image, nothing_left):
    golem = make_seed_golem("public")
    golem.config.images |= {IMAGE_HASH: image, CALCULATOR_HASH: EXAMPLES / "calculator/image"}
    path = PACKAGE / page
    before, after = PAGES[page]
    examples = [example for example in find_examples(path) if example.language == "python"]
    assert examples
    assert not any(example.skipped for example in examples)
    names = {
        "Session": Session,
        "SimpleLoadBalancer": SimpleLoadBalancer,
        "TargetLoad": TargetLoad,
        "ENTRYPOINT": ENTRYPOINT,
        "IMAGE_HASH": CALCULATOR_HASH if "quickstart" in page else IMAGE_HASH,
    }
    written = [Example(path, 1, "python", source) for source in (before, after)]
    run_examples([written[0], *examples, written[1]], names)
    nothing_left(golem)


def test_plot_of_the_load_is_the_one_its_script_draws():
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "load_plot.py")], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (PACKAGE / "docs/load.svg").read_text()
