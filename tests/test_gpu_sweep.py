"""tools/gpu_sweep.py, as far as it runs without a GPU: on the emulator where that is built."""

import json
import sys
from pathlib import Path

import pytest
from test_cuda import emulated_library

TOOLS = Path(__file__).parents[1] / "tools"
pytestmark = pytest.mark.skipif(not TOOLS.is_dir(), reason="needs the source tree")


@pytest.fixture
def sweep(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import gpu_sweep

    return gpu_sweep


def make(sweep, out, *more):
    options = ["--dry-run", "--out", str(out), "--commit", "test", *more]
    return sweep.Sweep(sweep.parse(options))


def test_dry_run_without_a_library(sweep, tmp_path, capsys):
    sweep.main(["--dry-run", "--out", str(tmp_path), "--commit", "test"])
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["commit"] == "test" and "0 failed" in capsys.readouterr().out
    items = {r["item"] for r in result["records"] if r["stage"] == "bench"}
    assert {"gemm_bf16 NT 4096", "gemm_tf32x3 TN 8192", "memory softmax"} <= items
    assert (tmp_path / "table.md").read_text().startswith("# no GPU, test")


@pytest.mark.torch
def test_dry_run_on_the_emulator(sweep, tmp_path, capsys):
    pytest.importorskip("torch")  # which the benchmarks are against
    library = emulated_library()
    if not (library.parent / "cuda_driver").is_file():
        pytest.skip(f"no {library} with its cuda_driver")
    options = ["--dry-run", "--quick", "--out", str(tmp_path), "--commit", "test"]
    sweep.main([*options, "--library", str(library)])
    printed = capsys.readouterr().out
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    wrong = [r for r in records if r["status"] not in ("ok", "skipped")]
    assert not wrong, (printed, wrong)
    done = {r["item"] for r in records if r["status"] == "ok"}
    assert "driver gemm" in done and "gemm_bf16 NT 2048" in done


def test_a_second_run_does_what_is_missing(sweep, tmp_path):
    first = make(sweep, tmp_path)
    first.item("correctness", "good", [sys.executable, "-c", "print('fine')"], 20)
    first.item("correctness", "bad", [sys.executable, "-c", "raise SystemExit(3)"], 20)
    first.item("correctness", "no device", [sys.executable, "-c", "raise SystemExit(77)"], 20)
    first.stream("bench", [sys.executable, "-c", 'print(\'{"name": "x", "ours": 1}\')'], 20)
    found = {r["item"]: r["status"] for r in first.journal.records}
    assert found == {"good": "ok", "bad": "failed", "no device": "skipped", "x": "ok"}
    second = make(sweep, tmp_path)
    assert second.journal.has("correctness", "good") and second.journal.has("bench", "x")
    assert not second.journal.has("correctness", "bad")
    second.item("correctness", "good", ["/no/such/program"], 20)  # is not run again
    assert "1 failed" in second.report() and "failed: correctness bad" in second.report()
    assert make(sweep, tmp_path, "--commit", "other").journal.records == []


def test_deadlines(sweep, tmp_path):
    one = make(sweep, tmp_path)
    one.item("correctness", "hangs", [sys.executable, "-c", "import time; time.sleep(60)"], 0.5)
    late = make(sweep, tmp_path, "--budget", "0")
    late.item("correctness", "late", [sys.executable, "-c", ""], 20)
    assert [r["status"] for r in late.journal.records] == ["timeout", "cut"]


def test_the_work_list(sweep):
    import gpu_bench

    for family in gpu_bench.FAMILIES:
        names = [case.name for case in gpu_bench.cases(family)]
        assert names and len(names) == len(set(names)), family
    folder = Path(__file__).parent
    assert all((folder / file).is_file() for file in sweep.TEST_FILES)
