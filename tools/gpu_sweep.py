"""Everything a GPU can tell about the CUDA backend, in one command with a deadline.

    python tools/gpu_sweep.py --budget 540 --out OUT        on a machine with a GPU
    python tools/gpu_sweep.py --dry-run --out OUT           anywhere, on the emulator if it is built

Stages: probe (the card's ceilings), build, correctness (each family in its own process), sanitizer
(compute-sanitizer's four tools on tests/cuda_driver), bench (tools/gpu_bench.py against torch),
variants (every GEMM kernel by itself), ncu, report. Each item's result is appended to
OUT/results.jsonl as soon as it is known; a second run with the same OUT and commit does what is
missing. The report is OUT/result.json and OUT/table.md. No clock or other setting of the card is
touched. The result is 0 unless the sweep itself broke; failed items are in the report.
"""

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gpu_bench

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("probe", "build", "correctness", "sanitizer", "bench", "variants", "ncu")
DRIVER_FAMILIES = ("gemm", "elementwise", "rows", "images", "index", "optim")
TEST_FILES = ("test_cuda.py", "test_cuda_rows.py", "test_cuda_index.py", "test_cuda_train.py")
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
RESERVE = 15.0  # seconds that the report and the way out may take


class Journal:
    """The lines of results.jsonl, which outlive the process."""

    def __init__(self, path, commit):
        self.path, self.commit = path, commit
        lines = path.read_text().splitlines() if path.exists() else []
        self.records = [r for r in map(json.loads, lines) if r.get("commit") == commit]

    def find(self, stage, item):
        """The last record of an item, or None."""
        found = [r for r in self.records if (r["stage"], r["item"]) == (stage, item)]
        return found[-1] if found else None

    def has(self, stage, item):
        """Whether an item is done; what failed or was cut off is tried again."""
        record = self.find(stage, item)
        return record is not None and record["status"] in ("ok", "skipped")

    def add(self, stage, item, status, **data):
        """Appends a record."""
        record = {"commit": self.commit, "stage": stage, "item": item, "status": status, **data}
        self.records.append(record)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


class Sweep:
    """One run: what to do, until when, and where the results go."""

    def __init__(self, options):
        self.options = options
        self.end = time.monotonic() + options.budget - RESERVE
        self.out = options.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(self.out / "results.jsonl", options.commit or commit_of(ROOT))
        self.library, self.driver = options.library, options.driver
        if not self.library:
            self.find_built()
        elif not self.driver:
            self.driver = self.library.parent / "cuda_driver"

    def left(self):
        """Seconds until the report has to be written."""
        return self.end - time.monotonic()

    def wants(self, family):
        """Whether --only lets a family through."""
        return not self.options.only or any(family.startswith(o) for o in self.options.only)

    def run(self, command, limit, environment=None, on_line=None):
        """(status, text) of a command; its process group does not survive `limit` seconds.

        Status: the process's, or "timeout". on_line gets each line as soon as it is written.
        """
        limit = min(limit, self.left())
        if limit <= 0:
            return "timeout", "no time left"
        lines, pending, end = [], "", time.monotonic() + limit
        with subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        ) as process:
            pipe = process.stdout.fileno()
            while (wait := end - time.monotonic()) > 0:
                if not select.select([pipe], [], [], wait)[0]:
                    break
                if not (chunk := os.read(pipe, 1 << 16)):
                    return process.wait(), "\n".join([*lines, pending])
                *complete, pending = (pending + chunk.decode(errors="replace")).split("\n")
                lines += complete
                for line in complete if on_line else ():
                    on_line(line)
            os.killpg(process.pid, signal.SIGKILL)
        return "timeout", "\n".join([*lines, pending])

    def item(self, stage, item, command, limit, environment=None):
        """Runs a command as an item of a stage, unless it is done."""
        if self.journal.has(stage, item):
            return
        if self.left() <= 0:
            self.journal.add(stage, item, "cut")
            return
        start = time.monotonic()
        try:
            status, text = self.run(command, limit, environment)
        except OSError as error:
            status, text = "failed", str(error)
        names = {0: "ok", 77: "skipped", "timeout": "timeout"}
        self.journal.add(
            stage,
            item,
            names.get(status, "failed"),
            seconds=round(time.monotonic() - start, 1),
            tail=text.strip()[-2000:] if status != 0 else text.strip()[-200:],
        )

    # ---- stages ----

    def probe(self):
        """What card, driver and libraries these are, and what they reach at best."""
        if not self.options.dry_run:
            if smi := shutil.which("nvidia-smi"):
                self.item("probe", "nvidia-smi", [smi, "-q"], 20)
            self.stream("probe", [sys.executable, "tools/gpu_bench.py", "--ceilings"], 60)

    def build(self):
        """The library for 9.0, the extension for this Python, and the driver."""
        if self.options.library:
            self.journal.add("build", "given", "ok", library=str(self.library))
            return
        if self.options.dry_run:
            self.journal.add("build", "build", "skipped", tail="--library names no emulator")
            return
        folder = self.options.build
        flags = ["-DGRADSMITH_CUDA=ON", "-DGRADSMITH_CUDA_ARCHITECTURES=90-real"]
        flags += [
            "-DGRADSMITH_PYTHON=ON",
            "-DGRADSMITH_TESTS=ON",
            f"-DPython_EXECUTABLE={sys.executable}",
        ]
        configure = ["cmake", "-G", "Ninja", "-S", ".", "-B", folder, *flags]
        self.item("build", "configure", configure, 60)
        targets = ["gradsmith", "gradsmith_cuda", "_core", "cuda_driver"]
        self.item("build", "compile", ["ninja", "-C", folder, "-k0", *targets], 240)
        self.find_built()
        for extension in folder.rglob("_core.*.so"):
            link = ROOT / "python/gradsmith" / extension.name
            link.unlink(missing_ok=True)
            link.symlink_to(extension.resolve())

    def correctness(self):
        """The driver's families, then the tests marked gpu; a process each."""
        # An emulator has no deadline, and perhaps a busy processor.
        repeats, limit = ("1", 300) if self.options.dry_run else ("20", 60)
        for family in DRIVER_FAMILIES if self.has_driver() else ():
            if self.wants(family):
                command = [self.driver, self.library, "--only", family, "--repeat", repeats]
                self.item("correctness", f"driver {family}", command, limit)
        if self.options.dry_run:
            return
        for file in TEST_FILES:
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "gpu", f"tests/{file}"]
            self.item("correctness", file, command, 90, self.environment())

    def sanitizer(self):
        """compute-sanitizer on the driver, most telling tool first."""
        sanitizer = shutil.which("compute-sanitizer")
        if not sanitizer or not self.has_driver():
            self.journal.add(
                "sanitizer", "all", "skipped", tail="no compute-sanitizer or no driver"
            )
            return
        for tool in TOOLS:
            for family in DRIVER_FAMILIES:
                if not self.wants(family):
                    continue
                command = [sanitizer, "--tool", tool, "--error-exitcode", "9", self.driver]
                command += [self.library, "--only", family, "--repeat", "1"]
                self.item("sanitizer", f"{tool} {family}", command, 60)

    def bench(self):
        """Ours and torch's in turns, family by family."""
        for family, (_, settings) in gpu_bench.FAMILIES.items():
            if not self.wants(family):
                continue
            if self.options.dry_run and not self.library:
                for case in gpu_bench.cases(family):
                    self.journal.add("bench", f"{family} {case.name}", "skipped", tail="no library")
                continue
            known = [c.name for c in gpu_bench.cases(family) if self.done(family, c.name)]
            if len(known) == len(gpu_bench.cases(family)):
                continue
            command = [sys.executable, "tools/gpu_bench.py", "--family", family, "--skip", *known]
            command += ["--quick"] * self.options.quick + ["--dry-run"] * self.options.dry_run
            self.stream("bench", command, 120, {**self.environment(), **settings}, family)

    def done(self, family, name):
        """Whether a case has been timed."""
        return self.journal.has("bench", f"{family} {name}")

    def variants(self):
        """Every GEMM kernel and layout by the driver's own clock."""
        if self.options.dry_run or not self.has_driver():
            return
        self.item("variants", "gemm", [self.driver, self.library, "--only", "gemm", "--time"], 60)

    def ncu(self):
        """What the GEMM kernels wait for."""
        ncu = shutil.which("ncu")
        if not ncu or self.options.dry_run or not self.has_driver():
            self.journal.add("ncu", "all", "skipped", tail="no ncu")
            return
        command = [ncu, "--clock-control", "none", "--set", "basic", "--launch-count", "12"]
        command += [self.driver, self.library, "--only", "gemm", "--time"]
        self.item("ncu", "gemm", command, 40)

    # ---- parts of stages ----

    def find_built(self):
        """Takes the library and the driver from the build folder."""
        names = ("libgradsmith_cuda.so", "cuda_driver")
        found = [sorted(self.options.build.rglob(name)) for name in names]
        self.library, self.driver = (paths[0] if paths else None for paths in found)

    def has_driver(self):
        """Whether there is a library and a driver to run it."""
        return bool(self.library and self.driver and Path(self.driver).exists())

    def environment(self):
        """For Python processes that use the library."""
        # Without an extension beside them the sources would hide the installed package.
        sources = ROOT / "python" if any(ROOT.glob("python/gradsmith/_core.*.so")) else ""
        paths = [str(sources), os.environ.get("PYTHONPATH", "")]
        library = {"GRADSMITH_CUDA_LIBRARY": str(self.library)} if self.library else {}
        return {**library, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def stream(self, stage, command, limit, environment=None, family=""):
        """Records the JSON lines that a command writes, as they come."""

        def record(line):
            if not line.startswith("{"):
                return
            data = json.loads(line)
            name = " ".join(filter(None, (family, data.pop("name"))))
            data.pop("family", None)
            self.journal.add(stage, name, data.pop("status", "ok"), **data)

        status, text = self.run(command, limit, environment, record)
        if status not in (0, "timeout"):
            self.journal.add(stage, family or "process", "failed", tail=text[-2000:])

    def report(self):
        """result.json, table.md and the lines that are printed."""
        latest = {(r["stage"], r["item"]): r for r in self.journal.records}
        records = list(latest.values())
        probe = self.journal.find("probe", "ceilings") or {}
        result = {"commit": self.journal.commit, "ceilings": probe, "records": records}
        (self.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
        lines = [f"# {probe.get('device', 'no GPU')}, {self.journal.commit[:12]}", ""]
        lines += [
            "| case | time, us | TFLOP/s | torch eager | torch graphed | TF32 |",
            "|---" * 6 + "|",
        ]
        for r in records:
            if "ratio_peer" in r:
                lines.append(
                    f"| {r['item']} | {r['ours'][0]} | {r.get('tflops', '')} | {r['ratio_peer']} "
                    f"{r['interval_peer']} | {r['ratio_graph']} | {'on' if r['tf32'] else 'off'} |"
                )
        (self.out / "table.md").write_text("\n".join(lines) + "\n")
        bad = [r for r in records if r["status"] not in ("ok", "skipped")]
        counts = ", ".join(
            f"{sum(r['status'] == s for r in records)} {s}"
            for s in ("ok", "failed", "timeout", "cut", "skipped")
        )
        printed = [
            f"{r['status']}: {r['stage']} {r['item']}: {r.get('error') or r.get('tail', '')[-300:]}"
            for r in bad
        ]
        return "\n".join([counts, *printed, *lines][:100])


def commit_of(root):
    """The commit's hash, marked where files differ from it."""
    try:
        command = ["git", "describe", "--always", "--abbrev=40", "--dirty"]
        return subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def parse(arguments=None):
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--budget", type=float, default=540, help="seconds, the report included")
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=STAGES)
    parser.add_argument("--only", nargs="*", help="families whose names begin so")
    parser.add_argument("--quick", action="store_true", help="two cases a family")
    parser.add_argument("--dry-run", action="store_true", help="without a GPU: no timing")
    parser.add_argument("--library", type=Path, help="a libgradsmith_cuda that is built already")
    parser.add_argument("--driver", type=Path, help="its cuda_driver; beside it if not given")
    parser.add_argument("--commit", help="what is measured, where there is no git")
    parser.add_argument("--build", type=Path, default=ROOT / "build/gpu", help="build folder")
    return parser.parse_args(arguments)


def main(arguments=None):
    """The command."""
    sweep = Sweep(parse(arguments))
    try:
        for stage in STAGES:
            if stage in sweep.options.stages:
                getattr(sweep, stage)()
    finally:
        print(sweep.report(), flush=True)


if __name__ == "__main__":
    main()
