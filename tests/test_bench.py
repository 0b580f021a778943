"""`gradsmith bench`: every family can be measured, shape files are checked, figures make sense."""

from __future__ import annotations

import json
import runpy
import time
from pathlib import Path

import gradsmith as gs
import pytest
from gradsmith import kernels
from gradsmith.cli import bench_cases, run
from gradsmith.cli.bench import Limits, measure, measure_limits

SHAPES = Path(bench_cases.__file__).parent / "bench_shapes"
FILES = [path for path in SHAPES.glob("*.txt") if path.stem != "README"]


def test_every_family_has_a_case_and_a_quick_shape() -> None:
    families = {row.family for row in kernels.list()} - {"peak"}  # the limit itself
    assert {case.family for case in bench_cases.CASES.values()} == families
    quick = bench_cases.read_shapes(SHAPES / "quick.txt")
    assert {bench_cases.CASES[name].family for name, _ in quick} == families


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_packaged_shapes_are_valid(path: Path) -> None:
    assert bench_cases.read_shapes(path)


@pytest.mark.parametrize("name", bench_cases.CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_case_runs(name: str, dtype: str) -> None:
    case = bench_cases.CASES[name]
    sizes = {key: 2 for key, value in case.sizes.items() if value is None}
    with gs.no_grad():
        prepared = case.prepare(sizes, dtype)
        prepared.run()
        if prepared.numpy:
            prepared.numpy()
    assert prepared.bytes > 0
    assert prepared.flops >= 0


@pytest.mark.parametrize(
    "line,text",
    [
        ("nothing m=1", "shapes.txt:2: there is no kernel 'nothing'"),
        ("gemm m=1 n=2", "gemm needs k"),
        ("gemm m=1 n=2 k=x", "'k=x' is not a size of gemm; it takes m=N n=N k=N"),
        ("gemm m=1 n=2 k=-3", "'k=-3' is not a size"),
        ("gemm m=1 n=2 k=3 z=4", "'z=4' is not a size"),
    ],
)
def test_bad_shape_files(
    tmp_path: Path, line: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "shapes.txt"
    path.write_text("# a comment\n" + line)
    with pytest.raises(ValueError) as caught:
        bench_cases.read_shapes(path)
    assert text in str(caught.value)
    assert run(["bench", "--shapes", str(path)]) == 1
    assert text in capsys.readouterr().err


def test_measure_takes_turns() -> None:
    order: list[str] = []
    clock = iter(range(0, 10**12, 10**9))  # a second between any two looks
    timings = measure(
        [lambda: order.append("a"), lambda: order.append("b")], 3, lambda: next(clock)
    )
    assert order == ["a", "a", "b", "b", *("a", "b") * 3]
    assert [timing.median for timing in timings] == [1e9, 1e9]
    assert timings[0].spread == 0


def test_the_binding_limit() -> None:
    limits = Limits(flops=10.0, cache=4.0, memory=1.0)
    one = bench_cases.Prepared(run=lambda: None, flops=1e9, bytes=1e6)
    assert limits.of(one, 1) == (1e8, "FMA")
    one.flops = 0
    assert limits.of(one, 1) == (1e6, "memory")
    one.bytes = 1000
    assert limits.of(one, 1) == (250, "cache")


def test_limits_are_measured() -> None:
    with kernels.use_target("scalar"):
        slow = measure_limits("float32", 1, time.perf_counter_ns)
    assert 0 < slow.flops < 200
    assert 0 < slow.memory < 1000


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes, result = tmp_path / "s.txt", tmp_path / "r.json"
    shapes.write_text("gemm m=128 n=128 k=128\nadd n=1000\n")
    threads = gs.get_num_threads()
    arguments = ["bench", "--shapes", str(shapes), "--rounds", "2", "--json", str(result)]
    assert run([*arguments, "--threads", "1", "--clock", "cpu", "--against", "numpy"]) == 0
    assert gs.get_num_threads() == threads
    out = capsys.readouterr().out
    assert "limits:" in out
    report = json.loads(result.read_text())
    assert report["machine"]["threads"] == 1
    gemm, add = report["results"]
    assert gemm["bound"] == "FMA"
    assert 0 < gemm["share_of_limit"] < 1.5
    assert gemm["gflops"] == pytest.approx(2 * 128**3 / gemm["median_ns"])
    assert add["sizes"] == {"n": 1000}
    assert add["against"]["numpy"]["ratio"] > 0
    assert run([*arguments, "exp"]) == 1
    assert run(["bench", "--clock", "cpu"]) == 1
    assert run(["bench", "--target", "mmx"]) == 1
    assert "unknown target 'mmx'" in capsys.readouterr().err
    assert run(["bench", "--list"]) == 0
    assert "conv2d_weight_grad" in capsys.readouterr().out


def test_overhead_script_runs() -> None:
    script = Path(__file__).parents[1] / "bench" / "overhead.py"
    module = runpy.run_path(str(script))
    rows = module["compare"](1)
    assert {row["op"] for row in rows} >= set(module["GOALS"])
    assert all(row["gradsmith"] > 0 for row in rows)
