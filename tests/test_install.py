"""The installed package: what is in it, that it works from anywhere, and that C++ can use it."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command outside of the repository and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command} gave {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed() -> list[Path]:
    """Return the files of the installed distribution."""
    try:
        distribution = importlib.metadata.distribution("gradsmith")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("gradsmith is not installed (it runs from a build folder)")
    files = [Path(str(distribution.locate_file(f))) for f in distribution.files or []]
    if not any(f.name == "libgradsmith.so" for f in files):
        pytest.skip("this installation does not hold the library (editable?)")
    return files


def test_import_from_another_folder(tmp_path):
    code = "import gradsmith as gs; print((gs.ones(2, 3) @ gs.ones(3, 2)).sum().item())"
    assert run(sys.executable, "-c", code, cwd=tmp_path).split() == ["12.0"]


def test_module_and_script_run(tmp_path, installed):
    version = importlib.metadata.version("gradsmith")
    assert run(sys.executable, "-m", "gradsmith", "--version", cwd=tmp_path).strip() == version
    script = Path(sys.executable).parent / "gradsmith"
    assert run(script, "--version", cwd=tmp_path).strip() == version
    assert "threads" in run(script, "info", cwd=tmp_path).lower()


def test_import_needs_numpy_alone(tmp_path):
    code = (
        "import sys; import numpy; before = set(sys.modules); import gradsmith;"
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    allowed = sys.stdlib_module_names | {"numpy", "gradsmith"}
    loaded = run(sys.executable, "-c", code, cwd=tmp_path).split()
    assert [m for m in loaded if m not in allowed] == []


def test_import_time(tmp_path):
    """At most 20 ms over NumPy's; a loaded machine gets several tries."""
    code = (
        "import time, numpy; t = time.perf_counter(); import gradsmith;"
        "print(1000 * (time.perf_counter() - t))"
    )
    times: list[float] = []
    while len(times) < 20 and (not times or min(times) > 20):
        times.append(float(run(sys.executable, "-c", code, cwd=tmp_path)))
    assert min(times) <= 20, f"import gradsmith took {min(times):.1f} ms at best"


def test_wheel_holds_everything(installed):
    names = {str(f) for f in installed}
    for wanted in (
        "gradsmith/lib/libgradsmith.so",
        "gradsmith/include/gradsmith/gradsmith.h",
        "gradsmith/share/cmake/gradsmith/gradsmithConfig.cmake",
        "gradsmith/py.typed",
        "gradsmith/_core.pyi",
        "LICENSE",
    ):
        assert any(name.endswith(wanted) for name in names), f"{wanted} is missing"
    allowed = {".py", ".pyi", ".typed", ".so", ".h", ".cmake", ".pyc", ".txt"}
    package = [f for f in installed if "gradsmith/" in str(f) and "dist-info" not in str(f)]
    assert {f.suffix for f in package} <= allowed


def test_requires_numpy_alone(installed):
    required = importlib.metadata.requires("gradsmith") or []
    assert [re.split(r"\W", r)[0] for r in required if "extra ==" not in r] == ["numpy"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_library_comes_from_the_package(tmp_path, installed):
    code = (
        "import gradsmith; print(*{l.split()[-1] for l in open('/proc/self/maps')"
        " if 'libgradsmith' in l})"
    )
    loaded = run(sys.executable, "-c", code, cwd=tmp_path).split()
    assert [Path(p).resolve() for p in loaded] == [
        f.resolve() for f in installed if f.name == "libgradsmith.so"
    ]


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs cmake")
@pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="needs a C++ compiler"
)
def test_downstream_cmake_project(tmp_path, installed):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "tests" / "cpp" / "embed", source)
    package = run(sys.executable, "-m", "gradsmith", "--cmake-dir", cwd=tmp_path).strip()
    build = tmp_path / "build"
    run("cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={package}", cwd=tmp_path)
    run("cmake", "--build", build, cwd=tmp_path)
    assert run(build / "embed", cwd=tmp_path).rstrip().endswith(": ok")
