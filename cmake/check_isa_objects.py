"""Guard against code that one ISA's objects could hand to another's.

    python cmake/check_isa_objects.py BUILD_DIR [ISA...]

A `.simd.cpp` is compiled once per ISA. If its object defines a weak symbol (an inline function or
template instance outside of the ISA's namespace), the linker may keep, for the whole library, the
copy with instructions that the CPU does not have. So the objects of gs_simd_<isa> must define no
weak symbol, and every global one must lie in gradsmith::kernels::<isa>. There must be
objects of every ISA that is named.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def problems(objects: list[Path], isa: str) -> list[str]:
    """Return one line for each symbol that should not be there."""
    listing = subprocess.run(
        ["nm", "-A", "--defined-only", *map(str, objects)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    own = f"_ZN9gradsmith7kernels{len(isa)}{isa}"
    found = []
    for line in listing.splitlines():
        path, kind, name = re.fullmatch(r"(.*?):[0-9a-f]* (\S) (\S+)", line).groups()  # type: ignore[union-attr]
        where = "/".join(Path(path).parts[-2:])
        if kind in "VvWwu":
            found.append(f"{where}: weak symbol {name}")
        elif kind.isupper() and not name.startswith(own):
            found.append(f"{where}: {name} is outside of gradsmith::kernels::{isa}")
        elif "_GLOBAL__sub_I" in name:
            found.append(f"{where}: static initialiser {name}")
    return found


def main() -> int:
    """Check every gs_simd_<isa>.dir below the build folder; returns the exit code."""
    if len(sys.argv) < 2:
        print("usage: check_isa_objects.py BUILD_DIR [ISA...]", file=sys.stderr)
        return 2
    found: list[str] = []
    count = 0
    missing = set(sys.argv[2:])
    for folder in sorted(Path(sys.argv[1]).rglob("gs_simd_*.dir")):
        objects = sorted(folder.rglob("*.o"))
        count += len(objects)
        isa = folder.name.removeprefix("gs_simd_").removesuffix(".dir")
        if objects:
            found += problems(objects, isa)
            missing.discard(isa)
    for line in found:
        print(line)
    if missing:
        print(f"no objects of {', '.join(sorted(missing))} below {sys.argv[1]}", file=sys.stderr)
        return 1
    if count == 0:
        print(f"no objects of gs_simd_* below {sys.argv[1]}", file=sys.stderr)
        return 1
    print(f"{count} objects, {len(found)} problems")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
