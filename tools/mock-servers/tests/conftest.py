"""The tests of the mock servers; plain modules beside them (``loudml_client``) are importable."""

import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).parent))
ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _commands_are_measured(monkeypatch):
    """Where the suite runs under coverage, what it runs in processes of its own is measured too."""
    coverage = sys.modules.get("coverage")
    if coverage is not None and coverage.Coverage.current() is not None:
        monkeypatch.setenv("COVERAGE_PROCESS_START", str(ROOT / "tools" / "coveragerc"))
        monkeypatch.setenv("COVERAGE_FILE", str(ROOT / ".coverage"))
