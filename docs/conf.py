"""How Sphinx builds this documentation: `sphinx-build -W -b html docs build/docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import gradsmith

project = "gradsmith"
author = "the gradsmith authors"
project_copyright = "the gradsmith authors, MIT licence"
release = version = gradsmith.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",  # formulas are set by the reader's browser, the build needs no network
    "sphinx.ext.napoleon",
    "extension",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3


html_theme = "furo"
html_title = f"gradsmith {release}"
html_copy_source = False  # comments of the pages are tests
templates_path: list[str] = []

# `name` in a docstring links to what is documented under that name, and is code otherwise.
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
