"""Every client, from its built wheel, works with the lowest and the newest transport-utils that it asks for.

The lowest is the release with that tag where there is one, and otherwise these sources under its number; the newest is
these sources under the highest number that the range allows.
"""

import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from mock_servers import environments
from packaging.requirements import Requirement
from packaging.version import Version

sys.path.append(__file__.rpartition("/")[0])
from telemetry import free_addresses

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
SMOKE = HERE / "upgrade_smoke.py"
GOLEM_SERVER = ROOT / "packages/ya-httpx-client/tests/golem/provider_server.py"
IMAGE_HASH = "5a0c" * 14
VERSION_FILE = "src/transport_utils/_version.py"
CLIENTS = ("infi.ramen_client", "loudml-python", "pylm", "v3io", "ya-httpx-client")


def wanted(wheel):
    """Return the versions of transport-utils that a wheel asks for."""
    (metadata,) = importlib.metadata.distributions(path=[str(wheel)])
    requirements = map(Requirement, metadata.requires or ())
    of_ours = [found for found in requirements if found.name == "transport-utils"]
    (specifier,) = {
        found.specifier for found in of_ours if found.specifier
    }  # extras name features only
    return specifier


def ends(specifier):
    """Return the lowest and the highest version of a range ``>=A,<B``."""
    bounds = {one.operator: Version(one.version) for one in specifier}
    assert set(bounds) == {">=", "<"}, f"{specifier}: expected >=A,<B"
    upper = bounds["<"].release
    highest = (
        (upper[0] - 1, 999, 0)
        if len(upper) == 1 or not any(upper[1:])
        else (upper[0], upper[1] - 1, 999)
    )
    lowest = [*bounds[">="].release, 0, 0][:3]
    return ".".join(map(str, lowest)), ".".join(map(str, highest))


@pytest.fixture(scope="session")
def transport(tmp_path_factory):
    """Return a function that builds transport-utils under a version, once per run, and returns the wheel."""
    folder = tmp_path_factory.mktemp("transport")
    built = {}

    def build(version):
        if version not in built:
            sources = folder / version / "sources"
            released = f"transport-utils-v{version}:packages/transport-utils"
            archive = subprocess.run(["git", "archive", released], cwd=ROOT, capture_output=True)
            if archive.returncode:
                shutil.copytree(ROOT / "packages/transport-utils", sources)
            else:
                sources.mkdir(parents=True)
                subprocess.run(["tar", "-x", "-C", sources], input=archive.stdout, check=True)
            (sources / VERSION_FILE).write_text(f'"""Version."""\n\n__version__ = "{version}"\n')
            command = [
                sys.executable,
                "-m",
                "hatchling",
                "build",
                "-t",
                "wheel",
                "-d",
                folder / version / "dist",
            ]
            subprocess.run(command, cwd=sources, check=True, capture_output=True)
            [built[version]] = (folder / version / "dist").glob("*.whl")
        return built[version]

    return build


@pytest.fixture
def servers(make_loudml_server, v3io_server, ramen_server):
    """Return a function that gives a client's arguments for the smoke test."""

    def arguments(client):
        return {
            "infi.ramen_client": lambda: ["ramen", ramen_server.hostname],
            "loudml-python": lambda: ["loudml", make_loudml_server().hosts[0]],
            "pylm": lambda: ["pylm", *free_addresses(3)],
            "v3io": lambda: ["v3io", v3io_server.url],
            "ya-httpx-client": lambda: ["ya_httpx_client", IMAGE_HASH, sys.executable],
        }[client]()

    return arguments


@pytest.mark.timeout(240)
@pytest.mark.parametrize("client", CLIENTS)
def test_client_works_at_both_ends_of_its_range(
    client, wheel, transport, servers, make_yagna, tmp_path
):
    built = wheel(client)
    lowest, newest = ends(wanted(built))
    if client == "ya-httpx-client":
        (tmp_path / "image/golem/run").mkdir(parents=True)
        shutil.copy(GOLEM_SERVER, tmp_path / "image/golem/run/server.py")
        make_yagna(1, images={IMAGE_HASH: tmp_path / "image"})
    extra = "[requestor]" if client == "ya-httpx-client" else ""
    arguments = servers(client)
    python = environments.create(tmp_path / "environment")
    environments.install(python, f"{built}{extra}", str(transport(lowest)))
    for version in (lowest, newest):
        if version == newest:
            environments.install(python, str(transport(version)))
        run = subprocess.run(
            [python, SMOKE, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout.splitlines()[-1] == f"held with transport-utils {version}"
