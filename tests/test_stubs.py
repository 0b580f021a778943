"""The stub of the compiled module says what the module has."""

import importlib.util
from pathlib import Path

import gradsmith as gs
import pytest

ROOT = Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("make_stubs", ROOT / "tools" / "make_stubs.py")
assert _spec is not None and _spec.loader is not None
make_stubs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_stubs)


def test_stub_is_what_the_binding_says():
    found = make_stubs.STUB.read_text().splitlines()
    wanted = make_stubs.generate(gs._core).splitlines()
    assert found == wanted, "run `python tools/make_stubs.py`"


def test_stub_has_every_member_of_tensor():
    assert make_stubs.missing_members(gs._core) == []


@pytest.mark.parametrize(
    ("signature", "types", "wanted"),
    [
        ("input, dim=None", ["Tensor", "_int", "Tensor"], "dim: _int | None = None"),
        (
            "*size, dtype='f'",
            ["_Size", "_DType", "Tensor"],
            'dtype: _DType | None = "f"',
        ),
        ("a, *, b=1", ["_int", "_int", "None"], "(a: _int, *, b: _int = 1) -> None"),
    ],
)
def test_signatures_become_stubs(signature, types, wanted):
    assert wanted in make_stubs.op("f", False, signature, types)


def test_installed_package_is_typed():
    package = Path(gs.__file__).parent
    assert (package / "py.typed").exists()
    assert (package / "_core.pyi").exists()
