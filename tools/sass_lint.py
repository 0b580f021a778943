"""Checks the machine code of libgradsmith_cuda: no spills, and the instructions that kernels need.

    python tools/sass_lint.py build/cuda/libgradsmith_cuda.so

Needs cuobjdump and nvdisasm, from the CUDA toolkit or from the packages nvidia-cuda-cuobjdump and
nvidia-cuda-nvdisasm. Prints a table of the targets, and every kernel that breaks a rule.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Kernel:
    """One kernel's code for one target."""

    name: str
    target: str
    opcodes: Counter[str] = field(default_factory=Counter)  # how often each occurs
    registers: int = 0
    stack: int = 0


@dataclass(frozen=True)
class Rule:
    """Opcodes by their beginnings, for the kernels whose mangled name contains `kernel`."""

    kernel: str
    needs: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()
    at_most: tuple[tuple[str, int], ...] = ()


# Bytes of stack that are known: what is here is not worth the registers, or meant so.
STACK = {
    "11gemm_kernelILi128": 16,  # a few words, outside of the inner loop
    "weight_grad_kernelIdE": 40,  # float64, which few need
    "unary_kernel": 96,  # one loop for all ops holds values that it indexes
    "binary_kernel": 96,
}

RULES = (
    Rule("mma_gemm_kernel", needs=("HMMA.", "LDGSTS."), forbids=("HGMMA.",)),
    Rule(
        "wgmma_kernel",
        needs=(
            "HGMMA.64x256x16",
            "UTMALDG.3D.MULTICAST",
            "UTMALDG.3D",
            "SYNCS.",
            "USETMAXREG",
            "UCGABAR",
        ),
        forbids=("HMMA.",),
        at_most=(("CCTL.IVALL", 2),),  # where the cluster meets; not where slots are waited for
    ),
    Rule("11gemm_kernel", needs=("FFMA", "LDS.128"), forbids=("HMMA.",)),
)


def find_tool(name):
    """The path of a tool of the CUDA toolkit, or None."""
    if found := shutil.which(name):
        return found
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        if found := shutil.which(name, path=os.pathsep.join(map(str, Path(folder).glob("*/bin")))):
            return found
    return None


def parse_sass(text):
    """Kernels of `cuobjdump -sass`."""
    kernels, target, current = [], "", None
    for line in text.splitlines():
        if match := re.match(r"\s*(?:arch =|code for) (\w+)", line):
            target = match[1]
        elif match := re.match(r"\s*Function : (\S+)", line):
            current = Kernel(match[1], target)
            kernels.append(current)
        elif current and (
            match := re.match(r"\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", line)
        ):
            current.opcodes[match[1]] += 1
    return kernels


def parse_usage(text):
    """(target, kernel) to (registers, bytes of stack) of `cuobjdump -res-usage`."""
    usage, target, name = {}, "", ""
    for line in text.splitlines():
        if match := re.match(r"\s*arch = (\w+)", line):
            target = match[1]
        elif match := re.match(r"\s*Function (\S+):", line):
            name = match[1]
        elif match := re.search(r"REG:(\d+) STACK:(\d+)", line):
            usage[target, name] = int(match[1]), int(match[2])
    return usage


def problems(kernels):
    """One line for each rule that a kernel breaks."""
    found = []
    for kernel in kernels:
        where = f"{kernel.target} {kernel.name}"
        known = max((b for name, b in STACK.items() if name in kernel.name), default=0)
        spills = sorted(o for o in kernel.opcodes if o.startswith(("LDL", "STL")))
        if spills and (not known or kernel.stack > known):
            found.append(f"{where}: local memory ({', '.join(spills)}), stack {kernel.stack}")
        for rule in RULES:
            if rule.kernel not in kernel.name:
                continue
            for opcode in rule.needs:
                if not any(o.startswith(opcode) for o in kernel.opcodes):
                    found.append(f"{where}: no {opcode}")
            for opcode in rule.forbids:
                if any(o.startswith(opcode) for o in kernel.opcodes):
                    found.append(f"{where}: has {opcode}")
            for opcode, most in rule.at_most:
                if kernel.opcodes[opcode] > most:
                    found.append(f"{where}: {kernel.opcodes[opcode]} {opcode}, {most} are known")
    for rule in RULES:
        if not any(rule.kernel in kernel.name for kernel in kernels):
            found.append(f"no kernel named {rule.kernel}")
    return found


def read_library(path, cuobjdump):
    """The kernels of a library."""

    def run(option):
        environment = dict(os.environ)
        environment["PATH"] = f"{Path(cuobjdump).parent}{os.pathsep}{environment['PATH']}"
        command = [cuobjdump, option, str(path)]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        ).stdout

    kernels = parse_sass(run("-sass"))
    usage = parse_usage(run("-res-usage"))
    for kernel in kernels:
        kernel.registers, kernel.stack = usage.get((kernel.target, kernel.name), (0, 0))
    return kernels


def code_bytes(path, cuobjdump):
    """Bytes of the unpacked code of each target."""
    sizes = defaultdict(int)
    with tempfile.TemporaryDirectory() as folder:
        command = [cuobjdump, "-xelf", "all", str(Path(path).resolve())]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        for cubin in Path(folder).glob("*.cubin"):
            target = re.search(r"sm_\w+?(?=\.cubin)", cubin.name)
            sizes[target[0] if target else "?"] += cubin.stat().st_size
    return dict(sizes)


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", type=Path)
    library = parser.parse_args().library
    cuobjdump = find_tool("cuobjdump")
    if not cuobjdump or not find_tool("nvdisasm"):
        sys.exit("needs cuobjdump and nvdisasm (nvidia-cuda-cuobjdump, nvidia-cuda-nvdisasm)")
    kernels = read_library(library, cuobjdump)
    sizes = code_bytes(library, cuobjdump)
    print(f"{library}: {library.stat().st_size / 1e6:.2f} MB")
    for target in sorted({kernel.target for kernel in kernels}):
        own = [kernel for kernel in kernels if kernel.target == target]
        most = max(kernel.registers for kernel in own)
        size = sizes.get(target, 0) / 1e6
        print(f"  {target}: {len(own)} kernels, {size:.2f} MB unpacked, up to {most} registers")
    found = problems(kernels)
    print("\n".join(found) if found else "nothing to complain about")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
