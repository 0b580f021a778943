"""`gradsmith bench`: every family can be measured, lists are checked, figures make sense."""

from __future__ import annotations

import importlib
import json
import runpy
import time
from pathlib import Path
from typing import Any

import gradsmith as gs
import pytest
from gradsmith import kernels
from gradsmith.cli import run
from gradsmith.cli.bench import cases, compare, formats, options, peers, report
from gradsmith.cli.bench.case import CASES, Prepared, Unsupported, make
from gradsmith.cli.bench.measure import Effort, Limits, measure, measure_limits
from gradsmith.cli.bench.suites import SUITES, Group, sample, suite

assert cases.__all__
DATA = Path(__file__).parent / "bench_problems"

# Sizes for every case, as small as it takes them.
SMALL = {"h": 4, "w": 4, "groups": 1}


def smallest(name: str) -> dict[str, int]:
    sizes = {key: SMALL.get(key, 2) for key, value in CASES[name].sizes.items() if value is None}
    return {**sizes, "batch": 2} if name.startswith(("train_", "infer_")) else sizes


def test_every_family_has_a_case_and_a_quick_shape() -> None:
    families = {row.family for row in kernels.list()} - {"peak"}  # the limit itself
    assert {case.family for case in CASES.values()} >= families
    quick = formats.read_problems("quick").problems
    assert {CASES[problem.kernel].family for problem in quick} >= families


def test_the_parser_knows_suites_and_peers() -> None:
    assert tuple(SUITES) == options.SUITE_NAMES
    assert sorted(options.PEERS) == peers.names()


@pytest.mark.parametrize("name", formats.packaged())
def test_packaged_lists_are_valid(name: str) -> None:
    listed = formats.read_problems(name)
    assert listed.problems
    assert not listed.left_out


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_case_runs(name: str, dtype: str) -> None:
    if dtype == "float64" and name.startswith(("train_", "infer_")):
        return  # slow, and of the same layers
    case = CASES[name]
    try:
        prepared = case.prepare(smallest(name), dtype)
    except Unsupported as reason:
        assert "gradsmith has no nn." in str(reason)
        return
    with gs.set_grad_enabled(prepared.tracked):
        prepared.run()
    assert prepared.bytes > 0
    assert prepared.flops >= 0
    for call in peers.load("numpy").prepare(name, prepared).values():
        call()


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in CASES if "backward" not in name])
def test_torch_runs_the_cases(name: str) -> None:
    torch = pytest.importorskip("torch")
    try:
        case = CASES[name].prepare(smallest(name), "float32")
    except Unsupported:
        return
    peer = peers.load("torch")
    with peer.mode(case.tracked), peer.threads(1):
        runs = peer.prepare(name, case)
        for call in runs.values():
            call()
    if name in ("gemm", "bmm", "add_bias", "relu", "cast_to_bf16"):
        key = "to" if "to" in case.options else "out"
        kept = case.options if key == "to" else case.arrays
        theirs = torch.from_dlpack(kept[key]).clone()
        case.run()
        assert torch.allclose(torch.from_dlpack(kept[key]), theirs, atol=1e-4)


def test_onnxruntime_computes_the_same() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    module: Any = importlib.import_module("gradsmith.cli.bench.peers.onnxruntime")
    for name in (name for name in CASES if name.startswith("infer_")):
        case = CASES[name].prepare({}, "float32")
        x, net = case.arrays["x"], case.model()  # type: ignore[misc]
        with gs.no_grad():
            want = net(gs.from_numpy(x)).numpy()
        session = onnxruntime.InferenceSession(module._Writer(x).model(net))
        assert session.run(None, {"x": x})[0] == pytest.approx(want, abs=1e-5)
        assert module.prepare(name, case)


# ---- lists ----


def read(path: Path | str) -> list[str]:
    return [str(problem) for problem in formats.read_problems(str(path)).problems]


def test_deepbench_files() -> None:
    assert read(DATA / "deepbench.json") == [
        "gemm m=17 n=16 k=18",
        "gemm m=8 n=4 k=6 ta=1",
        "conv2d n=2 c=1 h=10 w=20 o=3 k=3 kw=5 stride=2 pw=1",
        "conv2d n=1 c=4 h=7 w=7 o=8 k=3 pad=1",
        "conv2d_input_grad n=1 c=4 h=7 w=7 o=8 k=3 pad=1",
        "conv2d_weight_grad n=1 c=4 h=7 w=7 o=8 k=3 pad=1",
        "rnn steps=5 batch=2 input=16 hidden=16",
        "rnn_and_grad steps=5 batch=2 input=16 hidden=16",
        "gru steps=5 batch=2 input=16 hidden=16",
        "gru_and_grad steps=5 batch=2 input=16 hidden=16",
    ]


def test_benchdnn_files() -> None:
    listed = formats.read_problems(str(DATA / "conv" / "shapes_small"))
    forward = [str(problem) for problem in listed.problems if problem.kernel == "conv2d"]
    assert forward == [
        "conv2d n=4 c=3 h=16 w=16 o=8 k=3 stride=2 pad=1",
        "conv2d n=4 c=8 h=7 w=7 o=8 k=3 pad=1 groups=8",
        "conv2d n=4 c=3 h=1 w=8 o=4 k=1 kw=3 pw=1",
    ]
    assert len(listed.problems) == 9
    (reason,) = listed.left_out
    assert "shapes_small:7" in reason and "three dimensions" in reason
    text = read(DATA / "rnn" / "shapes_small")
    assert text[0] == "lstm steps=3 batch=12 input=16 hidden=16 layers=2"
    assert text[2] == "lstm steps=2 batch=6 input=32 hidden=16"
    assert len(text) == 4
    assert read(f"gru:{DATA / 'rnn' / 'shapes_small'}")[0].startswith("gru ")


@pytest.mark.parametrize(
    "kind,line,expected",
    [
        ("matmul", "10x30:30x20", "gemm m=10 n=20 k=30"),
        ("matmul", '2x3x4x5:2x3x5x6_n"name"', "bmm batch=6 m=4 n=6 k=5"),
        ("ip", 'mb3ic512ih7iw7oc40n"fc"', "gemm m=3 n=40 k=25088 tb=1"),
        ("bnorm", "mb5_ic64_ih8", "batch_norm n=5 c=64 hw=64"),
        ("lnorm", "6x2x128", "layer_norm rows=12 n=128"),
        ("softmax", "2x16x4x4", "softmax rows=2 n=16 inner=16"),
        ("pool", "mb2ic3_ih6oh3_kh3sh2", "max_pool2d n=2 c=3 h=6 w=6 k=3 stride=2 pad=1"),
        ("deconv", "mb1ic4ih4oc2oh8kh4sh2ph1",
         "conv_transpose2d n=1 c=4 h=4 w=4 o=2 k=4 stride=2 pad=1"),
        ("conv", "ic2ih8oc2kh3", "conv2d n=2 c=2 h=8 w=8 o=2 k=3"),
    ],
)  # fmt: skip
def test_kinds_of_benchdnn(tmp_path: Path, kind: str, line: str, expected: str) -> None:
    path = tmp_path / "shapes"
    path.write_text(line + "\n")
    assert read(f"{kind}:{path}")[0] == expected


def test_a_batch_file_includes_another(tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("1x2:2x3\n")
    (tmp_path / "outer").write_text("--dt=f32 --batch=inner\n4x5:5x6")
    assert read(f"matmul:{tmp_path / 'outer'}") == ["gemm m=1 n=3 k=2", "gemm m=4 n=6 k=5"]
    (tmp_path / "inner").write_text("--batch=inner")
    with pytest.raises(ValueError, match=r"inner:1: more than \d+ files"):
        read(f"matmul:{tmp_path / 'outer'}")


@pytest.mark.parametrize(
    "kind,text,message",
    [
        ("", "# a comment\nnothing m=1", ":2: there is no kernel 'nothing'"),
        ("", "gemm m=1 n=2", ":1: gemm needs k"),
        ("", "gemm m=1 n=2 k=x", ":1: 'k=x' is not a size of gemm; it takes m=N n=N k=N"),
        ("", "gemm m=1 n=2 k=-3", "'k=-3' is not a size"),
        ("", "gemm m=1 n=2 k=3 z=4", "'z=4' is not a size"),
        ("", "gemm m=1 n=2 k=9999999999", r"'k=9999999999': must lie in \[1, "),
        ("", "gemm m=0 n=2 k=3", r"'m=0': must lie in \[1, "),
        ("", "", ":1: holds no problem"),
        ("", '{"gemm:x": [["1", "2"', ":1: not JSON"),
        ("", '{\n"gemm:x": [["1", "2"]]}', ":2: gemm:x needs lists of 5"),
        ("", '{"gemm:x": [\n["1","2","3","no","true"]]}', ":2: 'no' is neither"),
        ("", '{"rnn:x": [["1","2","3","elman"]]}', ":1: 'elman' is none of vanilla"),
        ("", '{"rnn:x": [["1","-2","3","lstm"]]}', r":1: '-2' is not a number in \[1"),
        ("", '{"other": 1}', ":1: not DeepBench's"),
        ("", "[" * 100_000, ":1: nested too deeply"),
        ("", 'mb1ic2oc3n"x"', "say what its problems are"),
        ("conv", "\nmb1ic2ocn", ":2: 'ocn' in 'mb1ic2ocn' is no size of conv"),
        ("conv", "ic2oc3", ":1: needs ih and kh"),
        ("conv", "ic0oc3ih4kh1", r":1: '0' is not a number in \[1"),
        ("conv", "g2ic3oc4ih4kh1", ":1: 2 groups do not divide"),
        ("conv", 'ic2oc3ih4kh1n"torn', ":1: a quote is not closed"),
        ("matmul", "2x3:4x5", ":1: 3 columns times 4 rows"),
        ("matmul", "2x3", ":1: a product is of two shapes"),
        ("lnorm", "7", ":1: lnorm is of one shape"),
        ("conv", "--batch=absent", ":1: --batch="),
    ],
)
def test_bad_lists(
    tmp_path: Path, kind: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "shapes"
    path.write_text(text)
    name = f"{kind}:{path}" if kind else str(path)
    with pytest.raises(ValueError, match=message) as caught:
        formats.read_problems(name)
    assert str(path) in str(caught.value)
    assert run(["bench", "--problems", name]) == 1
    assert str(path) in capsys.readouterr().err


def test_a_list_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "shapes"
    path.write_bytes(b"gemm m=1 n=1 k=1\n\xff\xfe")
    with pytest.raises(ValueError, match="shapes:2: byte 0xff is not UTF-8"):
        formats.read_problems(str(path))


def test_equal_problems_are_one() -> None:
    sizes = {"n": 1, "c": 2, "h": 4, "w": 4, "o": 3, "k": 3}
    same = {**sizes, "kw": 3, "stride": 1, "sw": 1, "pad": 0, "pw": 0, "groups": 1}
    assert make("conv2d", sizes) == make("conv2d", same)
    assert make("conv2d", sizes) != make("conv2d", {**sizes, "kw": 5})


@pytest.mark.parametrize("name", SUITES)
def test_suites(name: str) -> None:
    items = suite(name)
    problems = [item.problem for item in items]
    assert len(set(problems)) == len(problems)
    few = sample(items, 2)
    assert {item.group for item in few} == {item.group for item in items}
    assert len(few) <= 4 * len({item.group for item in items})


def test_a_group_varies_kernel_and_batch() -> None:
    group = Group("x", "conv_vgg19", ("conv2d", "conv2d_input_grad"), (1, 16))
    problems = group.problems()
    assert {problem.kernel for problem in problems} == {"conv2d", "conv2d_input_grad"}
    assert {dict(problem.sizes)["n"] for problem in problems} == {1, 16}


def test_absurd_sizes_are_refused_before_memory_runs_out() -> None:
    with pytest.raises(Unsupported, match="GiB"):
        CASES["relu"].prepare({"n": 2**31 - 1}, "float32")


# ---- measuring ----


def test_measure_takes_turns() -> None:
    order: list[str] = []
    clock = iter(range(0, 10**12, 10**9))  # a second between any two looks
    timings = measure(
        [lambda: order.append("a"), lambda: order.append("b")], Effort(3), lambda: next(clock)
    )
    assert order == ["a", "a", "b", "b", *("a", "b") * 3]
    assert [timing.median for timing in timings] == [1e9, 1e9]
    assert timings[0].spread == 0


def test_long_problems_get_fewer_rounds() -> None:
    clock = iter(range(0, 10**13, 10**9))
    (timing,) = measure([lambda: None], Effort(9, budget_ns=5 * 10**9), lambda: next(clock))
    assert timing.rounds == 4


def test_the_binding_limit() -> None:
    limits = Limits(flops=10.0, cache=4.0, memory=1.0)
    one = Prepared(run=lambda: None, flops=1e9, bytes=1e6)
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


# ---- tables ----


def result(name: str, ns: float, ratio: float = 1.0, **more: Any) -> dict[str, Any]:
    return {
        **{"suite": "s", "group": "g", "kernel": name, "sizes": {"n": 1}, "threads": 1},
        **{"median_ns": ns, "spread": 0.01, "gflops": 1.0, "gbytes_per_s": 1.0},
        **{"share_of_limit": 0.5, "bound": "memory", "flops": 0.0, "bytes": 8.0},
        "against": {"torch": {"median_ns": ns * ratio, "ratio": ratio}},
        **more,
    }


def whole(*results: dict[str, Any], **machine: Any) -> dict[str, Any]:
    limits = [{"threads": 1, "flops": 100.0, "cache": 60.0, "memory": 20.0}]
    about = {"cpu": "x", "target": "avx2", "dtype": "float32", "threads": [1], **machine}
    return {"version": 2, "machine": about, "limits": limits, "results": list(results)}


def test_means_and_worst_rows() -> None:
    assert report.geometric_mean([0.5, 2.0]) == pytest.approx(1)
    rows = [result(f"k{i}", 1000.0, 0.5 + i / 10) for i in range(12)]
    rows[11]["against"]["numpy"] = {"median_ns": 1.0, "ratio": 0.001}
    assert [row["kernel"] for row in report.worst(rows, 2)] == ["k11", "k0"]
    text = "\n".join(report.summary(rows))
    assert "the 10 worst:" in text
    assert "50%" in text  # of the rows are slower than the best peer: k0 to k4 and k11
    assert report.worst([result("a", 1.0, against={})], 1)[0]["kernel"] == "a"


def test_compare_refuses_what_is_noise() -> None:
    old = whole(result("a", 1000), result("b", 1000), result("c", 1000, spread=0.5), result("d", 1))
    new = whole(result("a", 2000), result("b", 1020), result("c", 1400), result("e", 1))
    lines = compare.compare(old, new)
    assert [line.split()[:3] for line in lines if "->" in line] == [["slower", "x2.00", "a"]]
    assert (
        "1 slower, 0 faster, 2 not different beyond the noise; 1 only here, 1 only there"
        in (lines[-1])
    )
    quieter = whole(result("a", 2000, aa=-1.5), result("b", 1020))
    assert not [line for line in compare.compare(old, quieter) if "->" in line]
    slow = whole(result("a", 1150))
    assert "slower x1.15" in "\n".join(compare.compare(old, slow))
    slow["limits"][0]["memory"] = 17.0  # the machine itself was slower
    assert "slower x" not in "\n".join(compare.compare(old, slow))
    once = whole(result("a", 2000), result("b", 500))
    assert [found["kernel"] for found in compare.suspects(old, once)] == ["a", "b"]
    once["results"][0]["again_ns"] = [1990, 1010]  # nearly the old time, when measured again
    once["results"][1]["again_ns"] = [510, 505]
    lines = compare.compare(old, once)
    assert [line.split()[:3] for line in lines if "->" in line] == [["faster", "x1.96", "b"]]
    other = whole(result("a", 1000), cpu="y", threads=[2])
    text = "\n".join(compare.compare(old, other))
    assert "cpu was x, is y" in text and "threads was [1], is [2]" in text


@pytest.mark.parametrize(
    "text,message",
    [
        ("{", "old.json:1: not JSON"),
        ("[1]", "not written by"),
        ('{"version": 2, "results": [{}]}', "is damaged"),
        ('{"version": 2, "results": [], "machine": {}, "limits": 3}', "is damaged"),
    ],
)
def test_compare_checks_the_file(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    assert run(["bench", "--compare", str(path)]) == 1
    assert message in capsys.readouterr().err


# ---- the command ----


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes, out, picture = tmp_path / "s.txt", tmp_path / "r.json", tmp_path / "r.png"
    shapes.write_text("gemm m=128 n=128 k=128\nadd n=1000\nadd n=1000\ngemm m=1 n=1 k=2147483647\n")
    threads = gs.get_num_threads()
    arguments = ["bench", "--shapes", str(shapes), "--rounds", "2", "--json", str(out)]
    pytest.importorskip("matplotlib")
    more = ["--threads", "1", "--clock", "cpu", "--against", "numpy", "--plot", str(picture)]
    assert run([*arguments, *more, "--quick"]) == 0
    assert gs.get_num_threads() == threads
    text = capsys.readouterr().out
    assert "limits with 1 thread:" in text
    assert "left out: 1 problem: an array of 7 GiB" in text
    assert picture.stat().st_size > 1000
    found = json.loads(out.read_text())
    assert found["machine"]["threads"] == [1]
    gemm, add = found["results"]
    assert gemm["bound"] == "FMA"
    assert 0 < gemm["share_of_limit"] < 1.5
    assert gemm["gflops"] == pytest.approx(2 * 128**3 / gemm["median_ns"])
    assert add["sizes"] == {"n": 1000}
    assert add["against"]["numpy"]["ratio"] > 0
    assert run([*arguments, "--compare", str(out), "add"]) == 0
    assert "only there" in capsys.readouterr().out
    old = json.loads(out.read_text())
    for entry in old["results"]:
        entry["median_ns"] /= 1000
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert run([*arguments, "--compare", str(tmp_path / "old.json"), "add"]) == 0
    assert "slower x" in capsys.readouterr().out
    assert len(json.loads(out.read_text())["results"][0]["again_ns"]) == 2
    assert run([*arguments, "exp"]) == 1
    assert run(["bench", "--clock", "cpu", "--threads", "1,2"]) == 1
    assert run(["bench", "--target", "mmx"]) == 1
    assert "unknown target 'mmx'" in capsys.readouterr().err
    assert run(["bench", "--list"]) == 0
    assert "conv2d_weight_grad" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--suite", "gem"], ["--against", "blis"], ["--threads", "0"], ["--limit-seconds", "nan"],
     ["--suite", "gemm", "--shapes", "gemm"]],
)  # fmt: skip
def test_wrong_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        run(["bench", *arguments])


@pytest.mark.parametrize(
    "name,pattern",
    [("gemm", "m=8 n=8 k=8"), ("conv", "n=1 c=6 h=14"), ("rnn", "steps=8 batch=64"),
     ("memory", "n=32768"), ("overhead", "add"), ("train", "tiny"), ("infer", "tiny")],
)  # fmt: skip
def test_a_piece_of_each_suite(name: str, pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--suite", name, "--filter", pattern, "--quick", "--rounds", "1"]
    assert run([*arguments, "--threads", "1,2", "--limit-seconds", "1"]) == 0
    text = capsys.readouterr().out
    assert f"{name}, 1 thread " in text and f"{name}, 2 threads " in text
    assert "A/A" in text


def test_a_missing_peer_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name in ("torch", "matplotlib"):
            raise ImportError(f"No module named '{name}'")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    assert run(["bench", "--against", "torch"]) == 1
    assert "pip install 'gradsmith[peers]'" in capsys.readouterr().err
    assert run(["bench", "--plot", "x.png"]) == 1
    assert "pip install 'gradsmith[bench]'" in capsys.readouterr().err


def test_the_page_has_the_recorded_figures() -> None:
    root = Path(__file__).parents[1]
    script = runpy.run_path(str(root / "bench" / "report.py"))
    text = (root / "docs" / "benchmarks.md").read_text()
    assert script["page"](text, sorted((root / "bench" / "results").glob("*.json"))) == text


def test_the_page_of_a_run(tmp_path: Path) -> None:
    script = runpy.run_path(str(Path(__file__).parents[1] / "bench" / "report.py"))
    about = {"cores": 2, "date": "2026-01-02 03:04", "gradsmith": "0.1", "commit": None}
    path = tmp_path / "run.json"
    rows = [result("a", 1000, 2.0, aa=0.01), result("b", 1000, 0.5)]
    path.write_text(json.dumps(whole(*rows, **about, python="3", peers={"torch": "2"})))
    page = script["page"](f"# x\n{script['BEGIN']}old\n{script['END']}end\n", [path])
    assert "| g | 2 | 50 % | 1.00 | 0.50 | 50 % |" in page
    assert page.index("`b n=1`") < page.index("`a n=1`")
    assert page.endswith("end\n") and "old" not in page
    with pytest.raises(ValueError, match="needs one line"):
        script["page"]("no markers", [path])
