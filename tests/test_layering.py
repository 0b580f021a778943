"""Rules that no compiler checks: who includes whom, file sizes, and that no op goes untested.

What needs the sources is skipped where only an installed wheel is at hand.
"""

import re
from pathlib import Path

import gradsmith as gs
import pytest
from op_cases import CASES, WITHOUT_CASE

ROOT = Path(__file__).parent.parent
CSRC = ROOT / "csrc"
needs_sources = pytest.mark.skipif(not CSRC.is_dir(), reason="needs the source tree")

# The folders that files of a folder may include, besides their own and gradsmith/ (the public
# headers, which include each other only).
ALLOWED = {
    "base": set(),
    "core": {"base", "runtime"},
    "kernels": {"base", "runtime"},
    "include": set(),
    "ops": {"base", "runtime", "core", "kernels"},
    "python": {"base", "runtime", "core", "kernels", "ops"},
    "runtime": {"base"},
}
# The engine adds gradients and makes zeros with the public ops.
PUBLIC_OPS = {"gradsmith/ops.h", "gradsmith/ops_nn.h"}
LAYERS_BELOW_OPS = {"base", "runtime", "kernels"}
LONGEST = 550
# The CUDA backend is a library of its own, loaded at run time: device code and its host side.
# Its kernels also compile for the emulator in tests/.
EXEMPT = {
    ("runtime/cuda_backend.cu", "kernels"),
    ("runtime/cuda_heap.h", "kernels"),
    ("runtime/cuda_streams.cu", "kernels"),
    ("kernels/cuda/status.h", "cuda_emu"),
}


def sources(*suffixes):
    return [p for p in sorted(CSRC.rglob("*")) if p.suffix in suffixes]


def includes(path):
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)


def layer_of(path):
    return path.relative_to(CSRC).parts[0]


@needs_sources
def test_include_rules():
    wrong = []
    for path in sources(".h", ".cpp", ".inc", ".cu"):
        layer = layer_of(path)
        assert layer in ALLOWED, f"{path}: csrc/{layer} has no rule in {__file__}"
        for name in includes(path):
            to = name.split("/")[0]
            if to == "gradsmith":
                bad = layer in LAYERS_BELOW_OPS and name in PUBLIC_OPS
            elif "/" not in name:
                bad = not (path.parent / name).exists()
            else:
                bad = to != layer and to not in ALLOWED[layer]
                bad &= (str(path.relative_to(CSRC)), to) not in EXEMPT
            if bad:
                wrong.append(f"{path.relative_to(ROOT)} includes {name}")
    assert not wrong, "\n".join(wrong)


@needs_sources
def test_vector_sources_include_almost_nothing():
    wrong = []
    for path in (CSRC / "kernels").rglob("*.simd.cpp"):
        family = f"kernels/{path.relative_to(CSRC / 'kernels').parts[0]}/"
        text = path.read_text()
        for name in includes(path):
            if not name.startswith(("kernels/simd/", family)):
                wrong.append(f"{path.name} includes {name}")
        for name in re.findall(r"#\s*include\s+<([^>]+)>", text):
            if name not in ("cstddef", "cstdint"):
                wrong.append(f"{path.name} includes <{name}>")
    assert not wrong, "\n".join(wrong)


@needs_sources
def test_public_headers_are_self_contained():
    for path in (CSRC / "include").rglob("*.h"):
        for name in includes(path):
            assert name.startswith("gradsmith/"), f"{path.name} includes {name}"


@needs_sources
def test_files_stay_short():
    folders = ("csrc", "python", "tests", "bench", "cmake")
    long = {}
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".h", ".cpp", ".cu", ".inc", ".py", ".cmake"):
                lines = len(path.read_text().splitlines())
                if lines > LONGEST:
                    long[str(path.relative_to(ROOT))] = lines
    assert not long


def families():
    text = (CSRC / "kernels/all.inc").read_text()
    listed = re.findall(r"^#include GS_FAMILY_FILE\((\w+)\)", text, re.MULTILINE)
    folders = {p.parent.name for p in (CSRC / "kernels").glob("*/*.inc")}
    return set(listed), folders


@needs_sources
def test_every_family_is_listed_and_has_a_reference():
    listed, folders = families()
    assert listed == folders
    for family in folders:
        folder = CSRC / "kernels" / family
        assert (folder / "reference.cpp").exists(), family
        assert list(folder.glob("*.simd.cpp")), family
        assert (folder / f"{family}.h").exists(), family


@needs_sources
def test_every_row_is_registered():
    registered = {(family, op) for family, op, _, _ in gs._core.list_kernels()}
    for family in families()[1]:
        text = (CSRC / "kernels" / family / f"{family}.inc").read_text()
        for op in re.findall(r"^GS_ROW\((\w+),", text, re.MULTILINE):
            assert (family, op) in registered, f"{family}: {op}"


def bound_ops():
    """Names of the functions and methods that def_op.h made."""
    made = {
        name
        for name, value in vars(gs._core).items()
        if type(value).__name__ == "builtin_function_or_method" and value.__text_signature__
    }
    methods = {
        name
        for name, value in vars(gs.Tensor).items()
        if type(value).__name__ == "method_descriptor" and not name.startswith("__")
    }
    return made | methods


# Casts are methods made from one template: tests/test_creation.py.
CASTS = {"bfloat16", "bool", "double", "float", "half", "int", "long"}


def test_every_bound_op_has_a_case():
    covered = {name for case in CASES for name in case.covered}
    missing = bound_ops() - covered - WITHOUT_CASE - CASTS
    assert not missing, f"add rows to tests/op_cases: {sorted(missing)}"


def test_cases_name_ops_that_exist():
    unknown = {name for case in CASES for name in case.covered} - bound_ops()
    assert not unknown
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


def test_every_bound_op_has_a_docstring():
    for name in bound_ops():
        value = getattr(gs._core, name, None) or getattr(gs.Tensor, name)
        assert value.__doc__ and value.__doc__.rstrip().endswith("."), name
