"""Every example of the documentation runs as it stands."""

import gc
import pathlib
import pkgutil
import re

import loudml
import pytest
import trustme
from mock_servers.doc_examples import find_examples, run_page

PACKAGE = pathlib.Path(__file__).parent.parent
PAGES = sorted(path.name for path in (PACKAGE / "docs").glob("*.md"))
WITHOUT_EXAMPLES = {"api.md", "changelog.md", "compatibility.md"}


@pytest.mark.parametrize("page", [name for name in PAGES if name not in WITHOUT_EXAMPLES])
def test_every_example_of_the_page_runs(page, make_loudml_server, tmp_path, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    server = make_loudml_server(nodes=3)
    names = {
        "hosts": server.hosts,
        "server": server,
        "ca_file": str(ca_file),
        "fingerprint": "ab" * 32,
    }
    assert run_page(PACKAGE / "docs" / page, names) > 0
    names.clear()
    gc.collect()  # clients that a page replaced without closing


@pytest.mark.parametrize("page", sorted(WITHOUT_EXAMPLES))
def test_no_example_hides_on_a_page_that_is_not_run(page):
    assert not [
        one for one in find_examples(PACKAGE / "docs" / page) if one.language.startswith("py")
    ]


def test_the_readme_runs(make_loudml_server, monkeypatch):
    server = make_loudml_server()
    assert run_page(PACKAGE / "README.md", {"hosts": server.hosts}) > 0


def test_the_reference_shows_every_public_module():
    source = pathlib.Path(loudml.__file__).parent
    modules = {
        module.name
        for module in pkgutil.walk_packages([str(source)], "loudml.")
        if "._" not in module.name and not f"{module.name}.".startswith("loudml.cli.")
    }
    historic_paths = {"loudml.connection", "loudml.misc", "loudml.utils"}
    shown = set(re.findall(r"automodule:: (\S+)", (PACKAGE / "docs" / "api.md").read_text()))
    assert shown == modules - historic_paths
