"""The work list of tools/gpu_sweep.py: what is timed on a GPU, against torch in the same process.

    python tools/gpu_bench.py --family gemm_bf16 [--seconds 20] [--quick]
    python tools/gpu_bench.py --list
    python tools/gpu_bench.py --family gemm_bf16 --dry-run    (tiny, not timed)
    python tools/gpu_bench.py --ceilings

Writes a JSON object a line as soon as it is known. Ours and the peer take turns sample by sample,
over buffers that together are larger than the second-level cache; medians, tenth and ninetieth
percentile of the times, and the median of the ratios of neighbouring samples with a bootstrap
interval. `ours` is eager; the peer is eager and replayed as a CUDA graph.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COLD_BYTES = 160 << 20  # of rotating buffers: three times the second-level cache of an H100


@dataclass(frozen=True)
class Case:
    """One line of the table. `ours` and `peer` make a function of a set of inputs."""

    family: str
    name: str
    shapes: tuple[tuple[int, ...], ...]  # of the inputs
    flops: float
    ours: Callable  # gs -> (*inputs) -> result
    peer: Callable  # torch -> (*inputs) -> result
    dtype: str = "float32"
    tf32: bool = False  # the peer's


def gemm_cases(family, dtype, tf32=False, sizes=(2048, 4096, 8192, 1024)):
    """Square products in three layouts."""
    layouts = {
        "NT": (lambda a, b: a @ b.t()),
        "NN": (lambda a, b: a @ b),
        "TN": (lambda a, b: a.t() @ b),
    }
    for n in sizes:
        for layout, product in layouts.items():
            yield Case(
                family,
                f"{layout} {n}",
                ((n, n), (n, n)),
                2.0 * n**3,
                lambda gs, f=product: f,
                lambda torch, f=product: f,
                dtype,
                tf32,
            )


def linear_cases(family, dtype):
    """Products with the epilogue fused, against two calls."""

    def ours(gs):
        return lambda x, w, b: gs._core.linear(x, w, b, activation="gelu")

    def peer(torch):
        f = torch.nn.functional
        return lambda x, w, b: f.gelu(f.linear(x, w, b))

    for m, k, n in ((4096, 4096, 4096), (8192, 1024, 4096), (128, 4096, 4096)):
        yield Case(
            family,
            f"linear+gelu {m},{k},{n}",
            ((m, k), (n, k), (n,)),
            2.0 * m * n * k,
            ours,
            peer,
            dtype,
        )


def batch_cases(family):
    """Batches of small products."""
    for z, n in ((4096, 16), (4096, 32), (1024, 64)):
        yield Case(
            family,
            f"bmm {z} x {n}",
            ((z, n, n), (z, n, n)),
            2.0 * z * n**3,
            lambda gs: gs.bmm,
            lambda torch: torch.bmm,
        )


def conv_cases(family):
    """Convolutions of networks for images."""
    shapes = ((32, 64, 56, 64, 3), (32, 256, 14, 256, 3), (32, 3, 224, 64, 7), (32, 256, 56, 64, 1))
    for n, c, size, o, k in shapes:

        def call(library, pad=k // 2):
            return lambda x, w: library.nn.functional.conv2d(x, w, padding=pad)

        yield Case(
            family,
            f"{n}x{c}x{size}x{size} to {o}, {k}x{k}",
            ((n, c, size, size), (o, c, k, k)),
            2.0 * n * o * size**2 * c * k**2,
            call,
            call,
        )


def memory_cases(family):
    """What memory limits."""
    big, rows = (1 << 25,), (8192, 4096)
    yield Case(family, "add", (big, big), 0, lambda gs: gs.add, lambda torch: torch.add)
    yield Case(family, "gelu", (big,), 0, lambda gs: gs.gelu, lambda t: t.nn.functional.gelu)
    yield Case(
        family,
        "softmax",
        (rows,),
        0,
        lambda gs: lambda x: gs.softmax(x, -1),
        lambda torch: lambda x: torch.softmax(x, -1),
    )
    yield Case(
        family,
        "layer_norm",
        (rows,),
        0,
        lambda gs: lambda x: gs.nn.functional.layer_norm(x, (x.shape[-1],)),
        lambda torch: lambda x: torch.nn.functional.layer_norm(x, (x.shape[-1],)),
    )
    yield Case(
        family, "sum", (rows,), 0, lambda gs: lambda x: x.sum(1), lambda torch: lambda x: x.sum(1)
    )


# By worth: what is cut off by the deadline comes last. The second of a pair is the environment of
# the family's process.
FAMILIES = {
    "gemm_bf16": (lambda f: gemm_cases(f, "bfloat16"), {}),
    "gemm_bf16_linear": (lambda f: linear_cases(f, "bfloat16"), {}),
    "gemm_tf32x3": (lambda f: gemm_cases(f, "float32"), {"GRADSMITH_CUDA_FLOAT32": "tf32x3"}),
    "gemm_fma": (lambda f: gemm_cases(f, "float32"), {"GRADSMITH_CUDA_FLOAT32": "fma"}),
    "gemm_tf32": (
        lambda f: gemm_cases(f, "float32", tf32=True),
        {"GRADSMITH_CUDA_FLOAT32": "tf32"},
    ),
    "gemm_f16": (lambda f: gemm_cases(f, "float16", sizes=(4096,)), {}),
    "gemm_batch": (batch_cases, {}),
    "conv": (conv_cases, {}),
    "memory": (memory_cases, {}),
}


def cases(family):
    """The cases of a family, most valuable first."""
    return list(FAMILIES[family][0](family))


def emit(**record):
    """Writes one record."""
    print(json.dumps(record), flush=True)


def bootstrap(values, rng, rounds=1000):
    """The 95 % interval of the median."""
    values = np.asarray(values)
    medians = np.median(values[rng.integers(0, len(values), (rounds, len(values)))], axis=1)
    return [round(float(q), 4) for q in np.quantile(medians, (0.025, 0.975))]


def spread(times):
    """Median, tenth and ninetieth percentile in microseconds."""
    return [round(float(q) * 1e6, 2) for q in np.quantile(times, (0.5, 0.1, 0.9))]


class Timer:
    """Times functions on the GPU by torch's events; both libraries use the default stream."""

    def __init__(self, torch):
        self.torch = torch

    def sample(self, call, launches):
        """Seconds a launch; call(i) uses the i-th set of buffers."""
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for i in range(launches):
            call(i)
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3 / launches

    def launches_for(self, call, seconds=4e-3):
        """How many launches a sample of about that time has."""
        self.sample(call, 2)
        return int(min(256, max(1, seconds / max(self.sample(call, 3), 1e-7))))

    def graph_of(self, call, launches):
        """A function that replays `launches` calls."""
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            for i in range(launches):
                call(i)
        return graph


def compare(case, gs, torch, seconds):
    """One record: ours against the peer, eager and graphed."""
    dtype, timer = getattr(torch, case.dtype), Timer(torch)
    torch.backends.cuda.matmul.allow_tf32 = case.tf32
    torch.backends.cudnn.allow_tf32 = case.tf32
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    set_bytes = sum(int(np.prod(s)) for s in case.shapes) * torch.empty((), dtype=dtype).itemsize
    sets = int(min(16, max(1, -(-COLD_BYTES // set_bytes))))
    theirs = [
        tuple(torch.rand(s, device="cuda", dtype=dtype) * 2 - 1 for s in case.shapes)
        for _ in range(sets)
    ]
    ours = [
        tuple((gs.rand(*s, device="cuda") * 2 - 1).to(case.dtype) for s in case.shapes)
        for _ in range(sets)
    ]
    our_function, peer_function = case.ours(gs), case.peer(torch)
    with gs.no_grad(), torch.no_grad():

        def run_ours(i):
            return our_function(*ours[i % sets])

        def run_peer(i):
            return peer_function(*theirs[i % sets])

        launches = timer.launches_for(run_peer)
        our_launches = timer.launches_for(run_ours)
        graph = timer.graph_of(run_peer, launches)
        times = {"ours": [], "peer": [], "graph": []}
        end = time.monotonic() + seconds
        while len(times["ours"]) < 300 and (time.monotonic() < end or len(times["ours"]) < 5):
            times["ours"].append(timer.sample(run_ours, our_launches))
            times["peer"].append(timer.sample(run_peer, launches))
            times["graph"].append(timer.sample(lambda _: graph.replay(), 1) / launches)
    rng = np.random.default_rng(0)
    record = {name: spread(values) for name, values in times.items()}
    for peer in ("peer", "graph"):
        ratios = np.array(times[peer]) / np.array(times["ours"])
        record[f"ratio_{peer}"] = round(float(np.median(ratios)), 4)
        record[f"interval_{peer}"] = bootstrap(ratios, rng)
    if case.flops:
        record["tflops"] = round(case.flops / np.median(times["ours"]) / 1e12, 2)
        record["peer_tflops"] = round(case.flops / np.median(times["peer"]) / 1e12, 2)
    record.update(samples=len(times["ours"]), sets=sets, tf32=case.tf32, dtype=case.dtype)
    return record


def rehearse(case, gs):
    """Ours once, on inputs of a few rows, for a check that the line can run at all."""
    shapes = [tuple(min(n, 8) for n in shape) for shape in case.shapes]
    inputs = [(gs.rand(*s) * 2 - 1).to("cuda").to(case.dtype) for s in shapes]
    with gs.no_grad():
        result = case.ours(gs)(*inputs)
    if not bool(result.cpu().float().isfinite().all().item()):
        raise ValueError("the result is not finite")
    return {"shape": list(result.shape)}


def ceilings(torch):
    """What the card can do at best, by torch's own functions."""
    timer, record = Timer(torch), {}
    x = torch.empty(1 << 28, device="cuda")
    y = torch.empty_like(x)
    record["copy_gb_s"] = round(2 * 4 * x.numel() / timer.sample(lambda _: y.copy_(x), 20) / 1e9)
    for name, dtype, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("tf32", torch.float32, True),
        ("float32", torch.float32, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        n = 8192
        a, b = (torch.rand(n, n, device="cuda", dtype=dtype) * 2 - 1 for _ in range(2))
        timer.sample(lambda _, a=a, b=b: a @ b, 3)
        seconds = timer.sample(lambda _, a=a, b=b: a @ b, 10)
        record[f"{name}_tflops"] = round(2 * n**3 / seconds / 1e12, 1)
    one = torch.zeros(1, device="cuda")
    record["launch_us"] = round(timer.sample(lambda _: one.add_(1), 1000) * 1e6, 2)
    properties = torch.cuda.get_device_properties(0)
    record["device"] = properties.name
    record["multiprocessors"] = properties.multi_processor_count
    record["capability"] = f"{properties.major}.{properties.minor}"
    record["torch"], record["cuda"] = torch.__version__, torch.version.cuda
    record["cudnn"] = torch.backends.cudnn.version()
    return record


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case")
    parser.add_argument("--skip", nargs="*", default=[], help="names of cases that are known")
    parser.add_argument("--quick", action="store_true", help="the first two cases")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--ceilings", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        for family in FAMILIES:
            for case in cases(family):
                emit(family=family, name=case.name)
        return
    if options.ceilings:
        import torch

        emit(name="ceilings", **ceilings(torch))
        return
    if not options.family:
        sys.exit("give --family, --ceilings or --list")
    import gradsmith as gs

    todo = [case for case in cases(options.family) if case.name not in options.skip]
    for case in todo[: 2 if options.quick else None]:
        try:
            if options.dry_run:
                record = rehearse(case, gs)
            else:
                import torch

                record = compare(case, gs, torch, options.seconds)
            emit(family=case.family, name=case.name, status="ok", **record)
        except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
            emit(family=case.family, name=case.name, status="failed", error=str(error)[:300])


if __name__ == "__main__":
    main()
