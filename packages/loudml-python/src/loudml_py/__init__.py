"""The import name of loudml-python 1.6.2 and 1.6.3: an alias of :mod:`loudml`.

``loudml_py`` and each ``loudml_py.<module>`` are the very module objects of ``loudml``, so that classes are identical
under both names and a patch of one is seen through the other. A finder maps the names, since the import system would
otherwise load each file a second time.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

import loudml

_ALIAS = "loudml_py."


class _AliasFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``loudml_py.x`` and answers with the module ``loudml.x``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_ALIAS):
            return None
        real = f"loudml.{fullname.removeprefix(_ALIAS)}"
        try:
            module = importlib.import_module(real)
        except ModuleNotFoundError as error:
            if error.name != real:
                raise
            return None
        return importlib.machinery.ModuleSpec(
            fullname, self, loader_state=(module, module.__spec__)
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module: ModuleType = spec.loader_state[0]
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the alias's spec on the module; give it back its own.
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            module.__spec__ = spec.loader_state[1]


sys.meta_path.insert(0, _AliasFinder())
sys.modules[__name__] = loudml
