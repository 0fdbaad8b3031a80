import importlib.util
import pathlib
import sys

import pytest

TOOLS = pathlib.Path(__file__).parent.parent


@pytest.fixture
def tool():
    """Return a function that loads a script of ``tools/`` as a module of its own."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"tool_{name}", TOOLS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load
