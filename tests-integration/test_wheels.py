"""Every package builds a wheel that installs and imports in a clean environment, with no source tree in sight."""

import subprocess

import pytest

IMPORTS = {
    "infi.ramen_client": "infi.ramen_client",
    "loudml-python": "loudml",
    "pylm": "pylm",
    "transport-utils": "transport_utils",
    "v3io": "v3io",
    "ya-httpx-client": "ya_httpx_client",
}


@pytest.mark.timeout(180)
def test_wheel_installs_and_imports_in_a_clean_environment(distribution, installed, tmp_path):
    python = installed(*dict.fromkeys(["transport-utils", distribution]))
    module = IMPORTS[distribution]
    program = (
        f"import importlib.metadata, pathlib, {module} as module;"
        f"print(importlib.metadata.version({distribution!r}));"
        "print((pathlib.Path(module.__file__).parent / 'py.typed').exists());"
        "print('site-packages' in module.__file__)"
    )
    run = subprocess.run(
        [python, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    version, typed, in_site_packages = run.stdout.split()
    assert version[0].isdigit()
    assert (typed, in_site_packages) == ("True", "True")
