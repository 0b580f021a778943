"""What the pages use beside MyST: lists of documented names, links to examples, comments."""

from __future__ import annotations

import functools
import importlib
import inspect
import types
from typing import Any

import gradsmith as gs
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.inspect import signature, stringify_signature

# A class that several of these have is documented in the first, and named in the others.
HOMES = (
    "gradsmith.train.callbacks",
    "gradsmith.train.metrics",
    "gradsmith.train",
    "gradsmith.transfer",
    "gradsmith.amp",
    "gradsmith.autograd",
)


def home_of(value: Any, module: str) -> str:
    """Return the module that documents a class which `module` has too."""
    for home in HOMES:
        package = importlib.import_module(home)
        if any(value is getattr(package, name) for name in package.__all__):
            return home
    return module


def _plain(value: Any) -> str:
    return value.__name__ if inspect.isclass(value) else repr(value)


def _entry(kind: str, module: str, heading: str, text: str) -> list[str]:
    return [f".. py:{kind}:: {heading}", f"   :module: {module}", "", f"   {text}", ""]


class Names(SphinxDirective):
    """Documents names of a module from their docstrings.

    ```{names} gradsmith.nn
    Linear Bilinear
    ```
    """

    has_content = True
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what autodoc makes of the names."""
        module = self.arguments[0]
        lines = ["```{eval-rst}"]
        for name in " ".join(self.content).split():
            lines += self._describe(module, name, getattr(importlib.import_module(module), name))
        return self.parse_text_to_nodes("\n".join([*lines, "```"]))

    def _describe(self, module: str, name: str, value: Any) -> list[str]:
        if isinstance(value, gs.dtype):
            return _entry("data", module, name, f"{value.name}, {8 * value.itemsize} bits.")
        if isinstance(value, functools.partial):
            given = inspect.signature(value.func).bind_partial(*value.args, **value.keywords)
            settings = ", ".join(f"{key}={_plain(v)}" for key, v in given.arguments.items())
            open_ones = stringify_signature(signature(value), show_return_annotation=False)
            made = f":py:obj:`{module}.{value.func.__name__}` with {settings}."
            return _entry("function", module, f"{name}{open_ones}", made)
        if isinstance(value, types.GenericAlias):
            return _entry("data", module, name, f"``{value}``")
        if not inspect.isclass(value):
            return [f".. autofunction:: {module}.{name}", ""]
        home = home_of(value, module)
        if home != module:
            return _entry("data", module, name, f"The same as :py:obj:`{home}.{name}`.")
        # Fields of a named tuple have docstrings that say nothing. What a private base class brings
        # is documented nowhere else.
        hidden = ("extra_repr", *getattr(value, "_fields", ()))
        public = (base.__name__ for base in value.__mro__[1:] if not base.__name__.startswith("_"))
        return [
            f".. autoclass:: {module}.{name}",
            "   :members:",
            f"   :exclude-members: {', '.join(hidden)}",
            f"   :inherited-members: {', '.join(public)}",
            "",
        ]


class ExampleRole(SphinxRole):
    """{example}`cnn` is the command that runs an example, and a link to its page."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link; it warns of nothing where there is no page."""
        link = pending_xref(
            "",
            nodes.literal("", f"gradsmith demo {self.text}"),
            refdomain="std",
            reftype="doc",
            refdoc=self.env.docname,
            reftarget=f"/examples/{self.text}",
            refexplicit=True,
            refwarn=False,
        )
        return [link], []


def drop_comments(app: Sphinx, doctree: nodes.document) -> None:
    """Take out comments: MyST hands them on as HTML, and the search would find their words."""
    for node in list(doctree.findall(nodes.raw)):
        text = node.astext().strip()
        if text.startswith("<!--") and text.find("-->") == len(text) - 3:
            node.parent.remove(node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("names", Names)
    app.add_role("example", ExampleRole())
    app.connect("doctree-read", drop_comments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
