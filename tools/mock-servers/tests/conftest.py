"""The tests of the mock servers; plain modules beside them (``loudml_client``) are importable."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
