"""Which lists of problems make a suite."""

from __future__ import annotations

from dataclasses import dataclass

from .case import CASES, Problem, make
from .formats import read_problems

__all__ = ["SUITES", "Item", "sample", "suite"]

_CONV = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
_RNN = ("", "_and_grad")


@dataclass(frozen=True)
class Group:
    """A packaged list, what is run of each of its problems, and in which batches."""

    name: str
    shapes: str
    variants: tuple[str, ...] = ()  # names of kernels, or endings where they begin with _
    batches: tuple[int, ...] = ()

    def problems(self) -> list[Problem]:
        """Return all of them."""
        found = []
        for kernel, sizes in read_problems(self.shapes).problems:
            for batch in self.batches or (0,):
                changed = {**dict(sizes), **({"n": batch} if batch else {})}
                for name in self._names(kernel):
                    found.append(make(name, changed))
        return found

    def _names(self, kernel: str) -> list[str]:
        if not self.variants or (self.variants is _CONV and kernel != "conv2d"):
            return [kernel]
        return [
            kernel + name if name in _RNN and kernel + name in CASES else name
            for name in self.variants
        ]


@dataclass(frozen=True)
class Item:
    """A problem of a suite and the group that it is summed up in."""

    suite: str
    group: str
    problem: Problem


_NETWORKS = (
    "resnet50", "vgg19", "googlenet_v3", "alexnet", "mobilenet", "mobilenet_dw", "unet", "densenet",
)  # fmt: skip

SUITES = {
    "gemm": (
        Group("squares", "gemm_squares"),
        Group("small", "gemm_small"),
        Group("skinny", "gemm_skinny"),
        Group("DeepBench", "gemm_deepbench"),
        Group("batched", "gemm_batched"),
        Group("bfloat16", "gemm_bf16"),
    ),
    "conv": (
        *(Group(name, f"conv_{name}", _CONV, (1, 16)) for name in _NETWORKS),
        Group("DeepBench", "conv_deepbench", _CONV),
        Group("small", "conv_small", _CONV),
    ),
    "rnn": (
        Group("networks", "rnn_networks", _RNN),
        Group("small", "rnn_small", _RNN),
        Group("batch 1", "rnn_batch1", _RNN),
        Group("DeepBench", "rnn_deepbench", _RNN),
        Group("benchdnn", "rnn_benchdnn", _RNN),
        Group("packed", "rnn_packed"),
    ),
    "memory": (
        Group("32 K elements", "memory_32k"),
        Group("16 M elements", "memory_16m"),
        Group("rows", "memory_rows"),
        Group("pools", "memory_pools"),
    ),
    "overhead": (Group("one element", "overhead"),),
    "train": (Group("step", "train"),),
    "infer": (Group("batch 1", "infer"),),
}

_PASSES = {"_input_grad": "input-grad", "_weight_grad": "weight-grad", "_and_grad": "with backward"}


def suite(name: str) -> list[Item]:
    """Return the problems of a suite; one that is in several lists counts in the first."""
    found: dict[Problem, Item] = {}
    for group in SUITES[name]:
        for problem in group.problems():
            ends = (text for end, text in _PASSES.items() if problem.kernel.endswith(end))
            ending = next(ends, "")
            title = f"{group.name}, {ending}" if ending else group.name
            found.setdefault(problem, Item(name, title, problem))
    return list(found.values())


def sample(items: list[Item], each: int) -> list[Item]:
    """Return so many of each group, evenly spread; all of a group up to twice as large."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    chosen = []
    for members in groups.values():
        count = each if len(members) > 2 * each else len(members)
        chosen += [members[i * len(members) // count] for i in range(count)]
    return chosen
