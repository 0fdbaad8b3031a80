import pathlib

from mock_servers.doc_examples import run_page

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_examples_of_the_readme_run_and_print_what_it_says():
    assert run_page(README) >= 7
