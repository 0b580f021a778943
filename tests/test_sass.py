"""The machine code of the CUDA library; see tools/sass_lint.py. GRADSMITH_TEST_CUDA_BUILD names a
libgradsmith_cuda built by nvcc.
"""

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "sass_lint.py"
pytestmark = pytest.mark.skipif(not TOOL.is_file(), reason="needs the source tree")


@pytest.fixture(scope="module")
def lint():
    spec = importlib.util.spec_from_file_location("sass_lint", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listing(name, *opcodes):
    lines = ["arch = sm_90a", "code for sm_90a", f"  Function : {name}", ".headerflags"]
    lines += [f"        /*{i:04x}*/              @!P0 {o} R1, R2 ;" for i, o in enumerate(opcodes)]
    return "\n".join(lines)


GOOD = {
    "_Z12wgmma_kernelv": [
        "HGMMA.64x256x16.F32.BF16",
        "UTMALDG.3D",
        "UTMALDG.3D.MULTICAST",
        "SYNCS.ARRIVE",
        "USETMAXREG.DEALLOC",
        "UCGABAR_ARV",
    ],
    "_Z15mma_gemm_kernelv": ["HMMA.16816.F32", "LDGSTS.E.BYPASS.128", "LDS.128"],
    "_Z11gemm_kernelv": ["FFMA", "LDS.128"],
}


def test_rules(lint):
    def complaints(**changes):
        code = {**GOOD, **{f"_Z{name}v": opcodes for name, opcodes in changes.items()}}
        return lint.problems(lint.parse_sass("\n".join(listing(n, *o) for n, o in code.items())))

    assert complaints() == []
    spilling = complaints(**{"5other": ["STL.64", "FADD"]})
    assert len(spilling) == 1 and "local memory (STL.64)" in spilling[0]
    assert complaints(**{"11gemm_kernel": ["FFMA", "LDS"]}) == [
        "sm_90a _Z11gemm_kernelv: no LDS.128"
    ]
    assert any("has HMMA." in c for c in complaints(**{"12wgmma_kernel": ["HMMA.16816"]}))
    emptied = [*GOOD["_Z12wgmma_kernelv"], *["CCTL.IVALL"] * 3]
    assert "3 CCTL.IVALL" in complaints(**{"12wgmma_kernel": emptied})[0]
    assert len(lint.problems([])) == len(lint.RULES)


def test_usage(lint):
    text = "arch = sm_90\n Function _Z1fv:\n  REG:40 STACK:16 SHARED:0 LOCAL:0"
    assert lint.parse_usage(text) == {("sm_90", "_Z1fv"): (40, 16)}


def test_library(lint):
    library = os.environ.get("GRADSMITH_TEST_CUDA_BUILD")
    if not library:
        pytest.skip("GRADSMITH_TEST_CUDA_BUILD does not name a libgradsmith_cuda built by nvcc")
    cuobjdump = lint.find_tool("cuobjdump")
    if not cuobjdump or not lint.find_tool("nvdisasm"):
        pytest.skip("needs nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm, or a CUDA toolkit")
    kernels = lint.read_library(library, cuobjdump)
    assert kernels
    found = lint.problems(kernels)
    assert not found, "\n".join(found)
