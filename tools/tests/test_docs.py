import pytest


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
