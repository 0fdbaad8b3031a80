"""What the integration tests share: wheels of the packages, and clean environments to install them into."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest
from mock_servers import environments

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What runs on yapapi has an environment of its own, ``hatch run golem:tests``.
collect_ignore = [] if importlib.util.find_spec("yapapi") else ["golem"]


DISTRIBUTIONS = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))


def pytest_generate_tests(metafunc):
    """Run a test that asks for ``distribution`` once for every package that exists."""
    if "distribution" in metafunc.fixturenames:
        metafunc.parametrize("distribution", DISTRIBUTIONS)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Return a function that builds a package's wheel, once per run, and returns its file."""
    folder = tmp_path_factory.mktemp("wheels")
    built = {}

    def build(distribution):
        if distribution not in built:
            target = folder / distribution
            subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target],
                cwd=ROOT / "packages" / distribution,
                check=True,
                capture_output=True,
            )
            [built[distribution]] = target.glob("*.whl")
        return built[distribution]

    return build


@pytest.fixture
def installed(wheel, tmp_path):
    """Return a function that installs packages from their wheels into a clean environment and returns its Python."""

    def install(*names, extra=()):
        python = environments.create(tmp_path / "environment")
        environments.install(python, *(str(wheel(name)) for name in names), *extra)
        return python

    return install
