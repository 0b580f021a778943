"""Write python/gradsmith/_core.pyi from what the compiled module says about itself.

    python tools/make_stubs.py            # write
    python tools/make_stubs.py --check    # exit 1 where the file differs

Ops come from the binding's own table (names, defaults and C++ types, see csrc/python/def_op.h),
other functions from pybind11's signatures, classes and operators from tools/core_head.pyi.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "python" / "gradsmith" / "_core.pyi"
HEAD = ROOT / "tools" / "core_head.pyi"
WIDTH = 100

# pybind11's spelling -> the stub's.
PYBIND_TYPES = [
    (r"gradsmith(\._core)?\.Tensor", "Tensor"),
    (r"gradsmith\._core\.(dtype|device)", r"\1"),
    (r"typing\.SupportsInt \| typing\.SupportsIndex", "_int"),
    (r"typing\.SupportsFloat \| typing\.SupportsIndex", "_float"),
    (r"typing\.SupportsInt", "_int"),
    (r"typing\.SupportsFloat", "_float"),
    (r"collections\.abc\.", ""),
    (r"\bCallable\b(?!\[)", "Callable[..., Any]"),
    (r"\b(?:object|handle)\b", "Any"),
    (r"\bdict\b(?!\[)", "dict[_str, Any]"),
    (r"\blist\b(?!\[)", "list[Any]"),
    (r"\btuple\b(?!\[)", "tuple[Any, ...]"),
    (r"\b(bool|int|float|str)\b", r"_\1"),
]


def split_arguments(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quoted, begin = [], 0, False, 0
    for at, c in enumerate(text + ","):
        quoted ^= c == "'"
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0 and not quoted:
            if part := text[begin:at].strip():
                parts.append(part)
            begin = at + 1
    return parts


def function(name: str, parameters: list[str], result: str, indent: str = "") -> str:
    """One `def`, on one line where it fits."""
    line = f"{indent}def {name}({', '.join(parameters)}) -> {result}: ..."
    if len(line) <= WIDTH:
        return line
    inner = "".join(f"{indent}    {p},\n" for p in parameters)
    return f"{indent}def {name}(\n{inner}{indent}) -> {result}: ..."


def op(name: str, method: bool, signature: str, types: list[str]) -> str:
    """Return the stub of an op."""
    kinds = iter(types)
    parameters = []
    for part in split_arguments(signature):
        if part == "*":
            parameters.append(part)
            continue
        argument, _, default = part.partition("=")
        kind = next(kinds)
        if method and argument == "input" and not parameters:
            parameters.append("self")
            continue
        may_be_none = default == "None" or (default and argument in ("dtype", "device"))
        if may_be_none and not kind.endswith("| None"):
            kind += " | None"
        default = default.replace("'", '"')
        parameters.append(f"{argument}: {kind}" + (f" = {default}" if default else ""))
    return function(name, parameters, next(kinds), "    " if method else "")


def pybind_function(doc: str) -> str:
    """Return the stub of a function that pybind11 describes in the first line of its doc."""
    match = re.fullmatch(r"(\w+)\((.*)\) -> (.*)", doc.splitlines()[0])
    if not match:
        raise ValueError(f"not a signature: {doc.splitlines()[0]}")
    name, arguments, result = match.groups()
    for pattern, text in PYBIND_TYPES:
        arguments = re.sub(pattern, text, arguments)
        result = re.sub(pattern, text, result)
    parameters = []
    for part in split_arguments(arguments):
        if ":" not in part:  # *, /, *args
            bare = part in ("*", "/")
            parameters.append(part if bare else f"{part}: Any")
            continue
        argument, kind = part.split(":", 1)
        if re.fullmatch(r"arg\d+", argument):
            argument = f"__{argument}"  # positional only
        if kind.endswith(" = None") and "| None" not in kind and kind.strip() != "Any = None":
            kind = kind.replace(" = None", " | None = None")
        parameters.append(f"{argument}:{kind}")
    return function(name, parameters, result)


def generate(core: ModuleType) -> str:
    """Return the text of the stub of `core`."""
    head = HEAD.read_text()
    declared = {
        node.name if isinstance(node, ast.ClassDef) else ast.unparse(node.target)
        for node in ast.parse(head).body
        if isinstance(node, ast.ClassDef | ast.AnnAssign)
    }
    methods: dict[str, str] = {}
    functions: dict[str, str] = {}
    for name, method, signature, types, _ in core._describe_ops():
        (methods if method else functions)[name] = op(name, method, signature, types)
    for name, value in vars(core).items():
        if name in declared or name in functions or name.startswith("__"):
            continue
        if not callable(value) or isinstance(value, type):
            raise ValueError(f"{name} is missing in {HEAD.name}")
        functions[name] = pybind_function(value.__doc__ or "")
    lines = [
        "# Written by tools/make_stubs.py; do not edit.",
        *[line for line in head.splitlines() if not line.startswith("#")],
        *[methods[name] for name in sorted(methods)],
        "",
        *[functions[name] for name in sorted(functions)],
    ]
    return "\n".join(lines) + "\n"


def missing_members(core: Any) -> list[str]:
    """Return the Tensor's members that the stub does not have."""
    tree = ast.parse(STUB.read_text())
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Tensor").body
    known = {n.name for n in body if isinstance(n, ast.FunctionDef)}
    known |= {ast.unparse(n.target) for n in body if isinstance(n, ast.AnnAssign)}
    names = set(vars(core.Tensor)) - set(vars(object)) - known
    internal = {"__deepcopy__", "__delitem__", "__array_priority__", "__weaklistoffset__"}
    return sorted(n for n in names - internal if n != "__module__")


def main() -> int:
    """Write or check the stub; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the file is right")
    options = parser.parse_args()
    import gradsmith  # sets the Python methods of Tensor

    text = generate(gradsmith._core)
    if not options.check:
        STUB.write_text(text)
        print(f"{STUB.relative_to(ROOT)}: {len(text.splitlines())} lines")
        return 0
    found = STUB.read_text() if STUB.exists() else ""
    sys.stdout.writelines(
        difflib.unified_diff(found.splitlines(True), text.splitlines(True), "checked in", "bound")
    )
    missing = missing_members(gradsmith._core)
    for name in missing:
        print(f"Tensor.{name} is missing in the stub")
    return int(found != text or bool(missing))


if __name__ == "__main__":
    sys.exit(main())
