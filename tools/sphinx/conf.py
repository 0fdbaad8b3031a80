"""Sphinx settings shared by the documentation of all packages; ``tools/docs.py`` says which one is built.

Reads the environment: ``DOCS_SITE`` (folder of the whole site), ``DOCS_NAME`` and ``DOCS_VERSION`` of the section that
is built, and ``DOCS_LINKED`` (sections built before, separated by spaces).
"""

import os
import pathlib

site = pathlib.Path(os.environ["DOCS_SITE"])

project = os.environ["DOCS_NAME"]
author = "the service-clients maintainers"
version = release = os.environ["DOCS_VERSION"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
nitpicky = True
# Only names of our own packages are checked: the rest of the world is not reachable from a build without network.
# Private names and type variables (ending in T) have no page.
OWN = "transport_utils|loudml|v3io|infi|pylm|ya_httpx_client"
nitpick_ignore_regex = [
    (r"py:.*", rf"(?!({OWN})\b).*"),
    (r"py:.*", r".*\._[A-Za-z].*|.*\.UNSET|.*\.T|.*[a-z]T"),
]
suppress_warnings = ["myst.domains"]

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

intersphinx_mapping = {
    name.replace(".", "-"): (
        f"../{name}/",
        str(site / name / "objects.inv"),
    )  # as roles may be called
    for name in os.environ["DOCS_LINKED"].split()
}

html_theme = "furo"
html_title = f"{project} {version}".strip()
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"announcement": '<a href="../index.html">service-clients: all packages</a>'}
