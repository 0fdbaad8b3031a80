"""Every example of the original's description runs as printed, from its text, against the server."""

import contextlib
import io
import pathlib
import pydoc
import re

SEED = (pathlib.Path(__file__).parent / "seed" / "README-0.7.md").read_text()
PRINTED_ENDPOINT = "https://v3io-webapi:8081"


def snippets():
    return re.findall(r"```python\n(.*?)```", SEED, re.DOTALL)


def run(snippet, names):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(snippet, "README-0.7.md", "exec"), names)
    return printed.getvalue().splitlines()


def test_every_example_runs_in_order_and_prints_what_it_says(v3io_server, monkeypatch):
    monkeypatch.setattr(pydoc, "pager", print)
    blocks = snippets()
    assert len(blocks) == 9
    names = {}
    blocks[0] = blocks[0].replace(PRINTED_ENDPOINT, v3io_server.url)
    output = [run(block, names) for block in blocks]
    names["v3io_client"].close()
    create, containers, help_text, never, listed, batch, objects, tables, streams = output
    assert create == []
    assert containers == ["Status code: 200", "#0: bigdata", "#1: projects", "#2: users"]
    assert any("get_containers" in line for line in help_text)
    assert never == listed == batch == []
    assert objects == ["hello, there"]
    assert tables[0] == "{'__size': 0, 'age': 9, 'quip': 'i can smell fear on you', 'height': 130}"
    assert tables[1:] == ["{'age': 42, 'feature': 'mustache'}", "{'age': 41, 'feature': 'singing'}"]
    assert streams == ["first shard record #1", "first shard record #2"]
