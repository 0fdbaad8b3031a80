"""What is written down about the original 1.6.3 in ``compat/`` is what the original really does.

``test_compatibility.py`` holds this package against these files. With ``RECORD_ORIGINAL=1`` they are written anew.
"""

import json
import os
import pathlib

import pytest

pytestmark = [pytest.mark.originals, pytest.mark.timeout(180)]

FOLDER = pathlib.Path(__file__).with_name("compat")


@pytest.fixture
def original():
    from mock_servers.originals import LOUDML, interpreter

    return interpreter(LOUDML)


def compare(name, found):
    """Compare with a file, or write it."""
    path = FOLDER / name
    if os.environ.get("RECORD_ORIGINAL"):
        path.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(path.read_text())


def test_the_names_written_down_are_those_of_the_original(original, run_script):
    compare("names_1.6.3.json", run_script(original, "list_names.py", "loudml_py"))


def test_the_requests_written_down_are_those_of_the_original(original, run_calls):
    compare("calls_1.6.3.json", run_calls(original, "loudml_py"))


def test_the_commands_written_down_are_those_of_the_original(original, run_calls):
    compare("commands_1.6.3.json", run_calls(original, "loudml_py", "command_calls.py"))
