"""benchdnn's batch files, as in oneDNN's tests/benchdnn/inputs.

A problem is letters and numbers, `mb16ic64ih56oc64oh56kh3ph1n"a name"`; where width is not given
it is like height, where padding is not it follows from the two sizes; a product is
`12x128x64:12x64x128`. Of the options `--batch=FILE` and `--mb=N` are obeyed; the others choose
types and passes, which we choose ourselves.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from ..case import LARGEST, Listed, Sizes, make

__all__ = ["KINDS", "read"]

_BOTH = ("", "_and_grad")
KINDS = {
    "conv": ("conv2d", "conv2d_input_grad", "conv2d_weight_grad"),
    "deconv": ("conv_transpose2d",),
    "ip": ("gemm",),
    "matmul": ("gemm", "bmm"),
    "bnorm": tuple(f"batch_norm{end}" for end in _BOTH),
    "lnorm": tuple(f"layer_norm{end}" for end in _BOTH),
    "softmax": tuple(f"softmax{end}" for end in _BOTH),
    "pool": tuple(f"{kind}_pool2d{end}" for kind in ("max", "avg") for end in _BOTH),
    **{kind: tuple(f"{kind}{end}" for end in _BOTH) for kind in ("lstm", "gru")},
    "rnn": tuple(f"lstm{end}" for end in _BOTH),
}
_DEEPEST = 8  # files that include files


class _LeftOut(Exception):
    """A problem that is understood but has no counterpart here."""


def read(
    path: Path, text: str, kind: str, found: Listed, depth: int = 0, batch: int | None = None
) -> None:
    """Append the problems of a file."""
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        for word in _words(where, line):
            if word.startswith("--mb="):
                batch = _number(where, word[5:], 0) or None
            elif word.startswith("--batch="):
                _include(where, path.parent / word[8:], kind, found, depth, batch)
            elif not word.startswith("--"):
                try:
                    _problem(where, word, kind, found, batch)
                except _LeftOut as reason:
                    found.left_out.append(f"{where}: {word[:80]}: {reason}")


def _words(where: str, line: str) -> list[str]:
    """Split a line at blanks outside of quotes, up to a comment."""
    words = re.findall(r'(?:"[^"]*"|[^\s"#])+|#.*|"', line)
    words = [word for word in words if not word.startswith("#")]
    if '"' in words:
        raise ValueError(f"{where}: a quote is not closed")
    return words


def _include(
    where: str, path: Path, kind: str, found: Listed, depth: int, batch: int | None
) -> None:
    if depth == _DEEPEST:
        raise ValueError(f"{where}: more than {_DEEPEST} files that include each other")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: --batch={path}: {error}") from None
    read(path, text, kind, found, depth + 1, batch)


def _number(where: str, text: str, least: int = 1) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= LARGEST:
        raise ValueError(f"{where}: '{text[:80]}' is not a number in [{least}, {LARGEST}]")
    return int(text)


def _problem(where: str, word: str, kind: str, found: Listed, batch: int | None) -> None:
    word = re.sub(r'_?n"[^"]*"$', "", word)
    if kind in ("matmul", "lnorm", "softmax"):
        shapes = [[_number(where, size) for size in shape.split("x")] for shape in word.split(":")]
        if kind == "matmul":
            _product(where, shapes, found)
        else:
            _rows(where, kind, shapes, found)
        return
    sizes = _sizes(where, word, kind)
    sizes["mb"] = batch or sizes.get("mb", 2)  # its own default
    if kind in ("conv", "deconv"):
        _convolution(where, kind, sizes, found)
    elif kind == "pool":
        _pool(where, sizes, found)
    elif kind in ("rnn", "lstm", "gru"):
        _recurrent(where, kind, sizes, found)
    elif kind == "ip":
        _need(where, sizes, "ic", "oc")
        inputs = sizes["ic"] * math.prod(_image(sizes, "i"))
        dims = {"m": sizes["mb"], "n": sizes["oc"], "k": inputs, "tb": 1}
        found.problems.append(make("gemm", dims))
    else:
        _need(where, sizes, "ic")
        dims = {"n": sizes["mb"], "c": sizes["ic"], "hw": math.prod(_image(sizes, "i"))}
        found.problems.extend(make(name, dims) for name in KINDS[kind])


_KEYS = {
    "rnn": "l t mb sic slc dhc dic",
    "": "mb g ic oc id ih iw od oh ow kd kh kw sd sh sw pd ph pw dd dh dw",
}


def _sizes(where: str, word: str, kind: str) -> Sizes:
    keys = _KEYS["rnn" if kind in ("rnn", "lstm", "gru") else ""].split()
    sizes: Sizes = {}
    place = 0
    while place < len(word):
        match = re.compile("_*([a-z]+)([0-9]+)_*").match(word, place)
        if match is None or match[1] not in keys:
            raise ValueError(
                f"{where}: '{word[place:][:40]}' in '{word[:80]}' is no size of {kind}; "
                f"there are {' '.join(keys)}"
            )
        sizes[match[1]] = _number(where, match[2], 0 if re.fullmatch("[pd][dhw]", match[1]) else 1)
        place = match.end()
    return sizes


def _need(where: str, sizes: Sizes, *keys: str) -> None:
    missing = [key for key in keys if key not in sizes]
    if missing:
        raise ValueError(f"{where}: needs {' and '.join(missing)}")


def _image(s: Sizes, kind: str) -> tuple[int, int]:
    """Return height and width of the input ("i") or output ("o"); one where not given at all."""
    if f"{kind}d" in s:
        raise _LeftOut("three dimensions")
    height, width = s.get(f"{kind}h"), s.get(f"{kind}w")
    if height is None:  # of one dimension
        return 1, width or 1
    return height, height if width is None else width


def _window(where: str, s: Sizes) -> tuple[list[Sizes], tuple[int, int]]:
    """Return kernel, stride, padding and dilation along height and width, and the input's size."""
    if "id" in s:
        raise _LeftOut("three dimensions")
    flat = "ih" not in s and "iw" in s
    _need(where, s, *(("iw", "kw") if flat else ("ih", "kh")))
    inputs, outputs = _image(s, "i"), _image(s, "o")
    axes = []
    for axis, key in enumerate("hw"):
        # Width is like height, but only as long as nothing is said about it.
        like = key if flat or f"k{key}" in s or f"s{key}" in s or f"p{key}" in s else "h"
        if flat and key == "h":
            axes.append({"k": 1, "stride": 1, "pad": 0, "dil": 1, "in": 1, "out": 1})
            continue
        k, stride = s.get(f"k{like}", s.get("kh", 1)), s.get(f"s{like}", s.get("sh", 1))
        size, dil = inputs[axis], s.get(f"d{like}", 0) + 1
        known = "ow" in s if flat else "oh" in s
        out = outputs[axis] if known else None
        pad = s.get(f"p{like}", None if known else s.get("ph", 0))
        axes.append({"k": k, "stride": stride, "dil": dil, "in": size})
        axes[-1] |= {} if out is None else {"out": out}
        axes[-1] |= {} if pad is None else {"pad": pad}
    return axes, inputs


def _dims(axes: list[Sizes]) -> Sizes:
    h, w = axes
    return {
        **{"k": h["k"], "kw": w["k"], "stride": h["stride"], "sw": w["stride"]},
        **{"pad": h["pad"], "pw": w["pad"], "dil": h["dil"], "dw": w["dil"]},
    }


def _pad(axis: Sizes, size: int, out: int) -> None:
    """Choose the padding of a window that makes `out` from `size`, or check that it does."""
    reach = (axis["k"] - 1) * axis["dil"] + 1
    if "pad" not in axis:
        axis["pad"] = max(0, -(-((out - 1) * axis["stride"] + reach - size) // 2))
    if (size + 2 * axis["pad"] - reach) // axis["stride"] + 1 != out:
        raise _LeftOut("padding that differs at the two ends")


def _convolution(where: str, kind: str, s: Sizes, found: Listed) -> None:
    _need(where, s, "ic", "oc")
    axes, (h, w) = _window(where, s)
    groups = s.get("g", 1)
    if s["ic"] % groups or s["oc"] % groups:
        raise ValueError(f"{where}: {groups} groups do not divide ic and oc")
    extra = []
    for axis in axes:
        if "out" in axis and kind == "conv":
            _pad(axis, axis["in"], axis["out"])
        elif "out" in axis:
            _pad(axis, axis["out"], axis["in"])
            reach = (axis["k"] - 1) * axis["dil"] + 1
            made = (axis["in"] - 1) * axis["stride"] - 2 * axis["pad"] + reach
            extra.append(axis["out"] - made)
            if not 0 <= extra[-1] < axis["stride"]:
                raise _LeftOut("padding that differs at the two ends")
        axis.setdefault("pad", 0)
    dims = {"n": s["mb"], "c": s["ic"], "h": h, "w": w, "o": s["oc"], **_dims(axes)}
    dims["groups"] = groups
    if kind == "deconv":
        if len(set(extra)) > 1:
            raise _LeftOut("an output padding that differs along height and width")
        dims["out_pad"] = extra[0] if extra else 0
    found.problems.extend(make(name, dims) for name in KINDS[kind])


def _pool(where: str, s: Sizes, found: Listed) -> None:
    _need(where, s, "ic")
    axes, (h, w) = _window(where, s)
    for axis in axes:
        if axis["dil"] > 1:
            raise _LeftOut("dilation")
        if "out" in axis:
            _pad(axis, axis["in"], axis["out"])
        axis.setdefault("pad", 0)
        if 2 * axis["pad"] > axis["k"]:
            raise _LeftOut("padding of more than half a window")
    dims = _dims(axes)
    del dims["dil"], dims["dw"]
    dims |= {"n": s["mb"], "c": s["ic"], "h": h, "w": w}
    found.problems.extend(make(name, dims) for name in KINDS["pool"])


def _recurrent(where: str, kind: str, s: Sizes, found: Listed) -> None:
    _need(where, s, "sic")
    hidden = s.get("dhc", s["sic"])
    if hidden != s["sic"] or s.get("dic", hidden) != hidden:
        raise _LeftOut("a state of another size than the output")
    dims = {"steps": s.get("t", 1), "batch": s["mb"], "input": s.get("slc", s["sic"])}
    dims |= {"hidden": hidden, "layers": s.get("l", 1)}
    found.problems.extend(make(name, dims) for name in KINDS[kind])


def _product(where: str, shapes: list[list[int]], found: Listed) -> None:
    if len(shapes) not in (2, 3) or min(map(len, shapes)) < 2:
        raise ValueError(f"{where}: a product is of two shapes, like 32x64:64x16")
    (*batch, m, k), (*other, k2, n) = shapes[:2]
    if k != k2:
        raise ValueError(f"{where}: {k} columns times {k2} rows")
    if batch != other:
        raise _LeftOut("a batch that is broadcast")
    sizes = {"m": m, "n": n, "k": k}
    if batch:
        found.problems.append(make("bmm", {"batch": math.prod(batch), **sizes}))
    else:
        found.problems.append(make("gemm", sizes))


def _rows(where: str, kind: str, shapes: list[list[int]], found: Listed) -> None:
    if len(shapes) != 1 or len(shapes[0]) < 2:
        raise ValueError(f"{where}: {kind} is of one shape of at least two sizes, like 64x1000")
    shape = shapes[0]
    if kind == "lnorm":
        dims = {"rows": math.prod(shape[:-1]), "n": shape[-1]}
    else:
        dims = {"rows": shape[0], "n": shape[1], "inner": math.prod(shape[2:])}
    found.problems.extend(make(name, dims) for name in KINDS[kind])
