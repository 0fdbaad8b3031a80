import pathlib
import subprocess
import sys

import pytest
from mock_servers.doc_examples import find_examples

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("packages/*/README.md"),
        *ROOT.glob("packages/*/docs/**/*.md"),
        *ROOT.glob("tools/*/README.md"),
    ]
)
TESTS = {
    "packages/infi.ramen_client/docs/testing.md": """
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.utils import create_queue_reader_and_writer
import tempfile, time

def run_my_program(hostname, token):
    values = dict(sender="imx", system_serial=1, system_version="3.0", hostname=hostname, auth_token=token, ssl=False)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reader, writer = create_queue_reader_and_writer(QueueReaderConfig({**values, "queue_dir": folder}))
        for number in (1, 2, 3):
            writer.push("metrics", "san_totals", "v1", number)
        while reader.queue_size():
            time.sleep(0.01)
        reader.close()
        writer.close()
""",
    "packages/loudml-python/docs/testing.md": """
def nightly_training(loud):
    loud.buckets.create({"name": "b", "type": "influxdb", "addr": "localhost", "database": "d", "measurement": "m"})
    loud.models.create({"name": "load", "type": "donut", "default_bucket": "b", "bucket_interval": "1h",
                        "interval": "1h", "offset": 0, "span": 5,
                        "features": [{"name": "v", "metric": "avg", "field": "v"}]})
    loud.models.train("load", _from="now-1d")
""",
    "packages/v3io/docs/testing.md": """
import v3io.dataplane

def greet(client, name):
    client.object.put("users", name, body="hello")
""",
}
"""Page -> what its example, a test, takes for granted."""
SEED = "packages/infi.ramen_client/README.md"
ELSEWHERE = {
    SEED: "the first example of the seed, which the package's tests run as it is printed there",
    "packages/pylm/docs/machines.md": "needs a Dask cluster; the tests of pylm.cluster.dask run these calls on one",
}


def left_out(page):
    return [example for example in find_examples(page) if example.skipped]


def test_no_example_is_left_out_without_another_test_of_it():
    found = {str(page.relative_to(ROOT)) for page in PAGES if left_out(page)}
    assert found == {*TESTS, *ELSEWHERE}
    (readme,) = left_out(ROOT / SEED)
    seed = (ROOT / SEED).with_name("tests") / "seed" / "usage.md"
    printed = "".join(seed.read_text(encoding="utf-8").replace("'", '"').split())
    for statement in ("".join(line.split()) for line in readme.source.splitlines()):
        assert statement.strip(",") in printed, statement


@pytest.mark.parametrize("page", TESTS)
def test_example_that_is_a_test_passes_with_the_fixtures_it_names(page, tmp_path):
    (example,) = left_out(ROOT / page)
    (tmp_path / "test_page.py").write_text(TESTS[page] + example.source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout


@pytest.fixture
def docs(tool):
    return tool("docs")


def test_links_that_lead_nowhere_are_found(docs, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="a/page.html#here">ok</a><a href="a/">ok</a><a href="a/page.html#gone">x</a>'
        '<a href="b.html">x</a><a href="https://example.org/b.html">not ours</a><a href="#top">x</a>'
    )
    (tmp_path / "a" / "page.html").write_text(
        '<p id="here"><a href="../index.html">ok</a><img src="no.png">{external+a.b:doc}'
    )
    (tmp_path / "a" / "index.html").write_text('<a href="page%2Ehtml">ok</a>')
    assert docs.broken_links(tmp_path) == [
        "a/page.html: no.png",
        "a/page.html: {external+a.b:doc}",
        "index.html: #top",
        "index.html: a/page.html#gone",
        "index.html: b.html",
    ]


def test_transport_utils_is_built_first_and_every_package_has_a_version(docs):
    found = docs.packages()
    assert found[0].name == "transport-utils"
    for package in found:
        assert docs.version_of(package)[0].isdigit()


def test_an_unknown_package_is_refused_by_name(docs, capsys):
    with pytest.raises(SystemExit):
        docs.main(["nonsense"])
    assert "nonsense" in capsys.readouterr().err


def test_entrance_leads_to_the_overview_or_else_to_what_was_built(docs, tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "SITE", tmp_path)
    docs.write_entrance(["transport-utils", "v3io"])
    assert 'href="v3io/index.html"' in (tmp_path / "index.html").read_text()
    (tmp_path / docs.OVERVIEW).mkdir()
    docs.write_entrance(["transport-utils", "v3io"])
    assert 'href="service-clients/index.html"' in (tmp_path / "index.html").read_text()
