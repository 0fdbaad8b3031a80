"""Every example of every page runs against the mock server and prints what the page says."""

import pathlib

import pytest
from mock_servers.doc_examples import run_page

DOCS = pathlib.Path(__file__).parent.parent / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md") if "```python" in path.read_text())


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_the_page_run(page, v3io_server, monkeypatch):
    monkeypatch.setenv("V3IO_API", v3io_server.url)
    monkeypatch.setenv("V3IO_ACCESS_KEY", "any")
    namespace = {}
    assert run_page(DOCS / page, namespace) >= 1
    client = namespace.get("client")
    if client is not None and not page.startswith("asyncio"):
        client.close()
