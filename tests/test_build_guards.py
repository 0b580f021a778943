"""What the object files of a build may hold. Set GRADSMITH_BUILD_DIR to a CMake build folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = os.environ.get("GRADSMITH_BUILD_DIR", "")
pytestmark = [
    pytest.mark.skipif(not BUILD, reason="GRADSMITH_BUILD_DIR is not set"),
    pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm"),
]


def objects():
    found = sorted(Path(BUILD).rglob("*.simd.cpp.o"))
    assert found, f"no vector objects under {BUILD}"
    return found


def symbols(path, *options):
    text = subprocess.run(
        ["nm", *options, str(path)], capture_output=True, text=True, check=True
    ).stdout
    return [line.split(maxsplit=2) for line in text.splitlines() if line.strip()]


def test_vector_objects_stay_apart():
    """No weak symbols, no initialisers, nothing outside the target's namespace."""
    guard = Path(__file__).parent.parent / "cmake" / "check_isa_objects.py"
    result = subprocess.run(
        [sys.executable, str(guard), BUILD], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_vector_objects_need_little():
    """Leaf kernels call no allocator, no thread and no exception."""
    banned = re.compile(r"malloc|calloc|^_Zn[wa]|pthread|__cxa_throw|_ZSt")
    for path in objects():
        undefined = [f[-1] for f in symbols(path, "-u")]
        assert not [n for n in undefined if banned.search(n)], path


def test_the_library_exports_only_its_own_names():
    found = list(Path(BUILD).glob("libgradsmith.so"))
    if not found:
        pytest.skip("no shared library in the build folder")
    exported = [f for f in symbols(found[0], "-D", "-C", "--defined-only") if len(f) == 3]
    ours = re.compile(r"gradsmith|^_(init|fini)$")
    foreign = [f[2] for f in exported if f[1] not in "VWwvu" and not ours.search(f[2])]
    assert not foreign, foreign[:20]
