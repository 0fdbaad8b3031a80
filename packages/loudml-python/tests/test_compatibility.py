"""Compatibility with loudml-python 1.6.3: one row per name, signature, default, request and error.

The rows are in ``compat/``, recorded from the original (``test_original.py`` proves them). What is meant to be
different is listed here by name, with the reason; a difference that no longer exists fails too.
"""

import importlib
import json
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).with_name("compat")
NAMES = json.loads((FOLDER / "names_1.6.3.json").read_text())
CALLS = json.loads((FOLDER / "calls_1.6.3.json").read_text())
COMMANDS = json.loads((FOLDER / "commands_1.6.3.json").read_text())

DIFFERENT_NAMES = {
    "Loud._format_url": "raised AttributeError whatever it was given; removed",
    "DummyConnectionPool._noop": "an implementation detail; removed",
    "Transport.__init__(retry_on_status)": "429 is retried too, with the pause the server asks for",
    "query_params(es_query_params)": "another name of the variable arguments",
    "__versionstr__": "the version",
    "__version__": "the version",
    "version_info": "the version",
}

DIFFERENT_REQUESTS = {
    "models.get name with a space": "a space in a path is %20, which servers understand, not +",
    "scheduled_jobs.get name with a space": "likewise",
    "templates.get name with a space": "likewise",
    "buckets.get name with a space": "likewise",
    "version with options": "options of version() are sent, not dropped",
    "models.train from None": "None is left out, not sent as from=None",
    "models.start_inference list": "one request per model, since the server takes one only",
    "models.stop_inference list": "likewise",
    "models.start_inference with output_bucket": "accepted, not a TypeError",
    "jobs.cancel_jobs list": "one request per job, likewise",
    "models.generator by name": "ends after its one page instead of never",
    "models.versions.exists": "looks into the listing after the 404 that servers of 1.6 always give",
    "as POST: HEAD with a body": "stays HEAD; only GET is turned into POST",
    "as source: HEAD with a body": "stays as it is; only a GET's body goes into the query",
    "compressed: get": "no content-encoding without a body",
    "compressed: create": "a short body is not compressed",
    "compressed: create large": "the same headers in another order, gzip level 1 instead of 9",
    "compressed: GET with a body": "a short body is not compressed",
    "compressed: HEAD with a body": "likewise",
    "lone surrogate": "sent as its JSON escape instead of bytes that are not UTF-8",
}

DIFFERENT_OUTCOMES = {
    "write_points none": "does nothing instead of failing with range()",
    "version with options": "see the requests",
    "models.start_inference with output_bucket": "see the requests",
    "models.generator by name": "see the requests",
    "html answer": "text/* is returned as text instead of a SerializationError",
    "as POST: HEAD with a body": "a bool, as for every HEAD",
}


DIFFERENT_COMMANDS = {
    "write-bucket b -d points.json -b 2": "writes all batches; the original failed after the first",
    "list-model-versions m": "lists all, not only the first page of 50",
    "list-model-versions m -a": "likewise",
    "list-model-templates": "likewise",
    "list-model-templates -a": "likewise",
    "create-model-template t model.json": "works; the original failed with a TypeError",
    "forecast-model m -f now -t now+1d -c f:low:3 --bg": "the constraint as the server reads it",
}


def signature_differences(label, theirs, ours):
    """Yield what a call written for the original signature would find otherwise."""
    positions = [name for name, _, _ in ours]
    by_name = {name: (kind, default) for name, kind, default in ours}
    for position, (name, kind, default) in enumerate(theirs):
        if (kind, default) != by_name.get(name) or (
            kind == "POSITIONAL_OR_KEYWORD" and positions[position] != name
        ):
            yield f"{label}({name})"


def name_differences(name, theirs, ours):
    """Yield the differences of one name."""
    if "class" in theirs:
        if [base for base in ours["bases"] if base in theirs["bases"]] != theirs["bases"]:
            yield f"{name}: bases"
        for member, facts in theirs["class"].items():
            if member not in ours["class"]:
                yield f"{name}.{member}"
            elif isinstance(facts, list):
                found = ours["class"][member]
                yield from signature_differences(f"{name}.{member}", facts, found)
            elif facts == "property" and ours["class"][member] != facts:
                yield f"{name}.{member}"
    elif "function" in theirs:
        yield from signature_differences(name, theirs["function"], ours["function"])
    elif theirs != ours:
        yield name


@pytest.fixture(scope="module")
def our_names():
    import subprocess

    script = str(pathlib.Path(__file__).with_name("list_names.py"))
    command = [sys.executable, script, "loudml"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def test_every_name_signature_default_and_base_is_there(our_names):
    found = set()
    for module, names in NAMES.items():
        for name, theirs in names.items():
            assert name in our_names[module], f"loudml.{module}.{name} is missing"
            found.update(name_differences(name, theirs, our_names[module][name]))
    assert found == set(DIFFERENT_NAMES)


def test_every_call_sends_the_same_requests_and_ends_the_same_way(run_calls):
    ours = run_calls(sys.executable, "loudml")
    assert ours.keys() == CALLS.keys()
    assert len(ours) > 130
    requests, outcomes = set(), set()
    for name, theirs in CALLS.items():
        if theirs["requests"] != ours[name]["requests"]:
            requests.add(name)
        if theirs["outcome"] != ours[name]["outcome"]:
            outcomes.add(name)
    wrong = {
        name: (CALLS[name], ours[name])
        for name in (requests - set(DIFFERENT_REQUESTS)) | (outcomes - set(DIFFERENT_OUTCOMES))
    }
    assert wrong == {}
    assert set(DIFFERENT_REQUESTS) - requests == set(), "listed as different, but the same"
    assert set(DIFFERENT_OUTCOMES) - outcomes == set(), "listed as different, but the same"


def test_every_command_sends_the_same_requests(run_calls):
    ours = run_calls(sys.executable, "loudml", "command_calls.py")
    assert ours.keys() == COMMANDS.keys()
    different = {name for name in ours if ours[name]["requests"] != COMMANDS[name]["requests"]}
    assert different == set(DIFFERENT_COMMANDS)


@pytest.mark.parametrize("module", sorted(NAMES))
def test_the_old_import_name_gives_the_same_module_objects(module):
    suffix = f".{module}" if module else ""
    old = importlib.import_module(f"loudml_py{suffix}")
    new = importlib.import_module(f"loudml{suffix}")
    assert old is new
    assert new.__spec__.name == f"loudml{suffix}"


def test_an_unknown_module_is_not_found_under_either_name():
    with pytest.raises(ModuleNotFoundError, match=r"loudml_py\.nothing"):
        importlib.import_module("loudml_py.nothing")


def test_names_of_the_documentation_resolve_at_the_top():
    import loudml

    for name in ("ConnectionSelector", "Connection", "ImproperlyConfigured", "JobsClient"):
        assert hasattr(loudml, name)
    for name in ("ScheduledJobsClient", "ModelsClient", "TemplatesClient", "BucketsClient"):
        assert hasattr(loudml, name)
    assert all(hasattr(loudml, name) for name in loudml.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = loudml.nothing
