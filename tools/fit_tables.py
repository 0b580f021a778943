"""Fits the tables in csrc/kernels/simd/math_tables.h and prints that file.

A table has 16 entries, one for each piece of a function's domain, which AVX-512 picks from in one
instruction. The polynomial of a piece starts from a point of expansion, searched so that the
function's value there and its slope are floats to within a hundredth of their last places: rounding
the table then costs nothing. Needs mpmath.
"""

from collections.abc import Callable

import mpmath as mp
import numpy as np
from fit_math import mills, remez

mp.mp.dps = 30
Function = Callable[[mp.mpf], mp.mpf]


def rounded(v: mp.mpf) -> np.float32:
    """The float next to v."""
    return np.float32(mp.nstr(v, 25))


def exact(v: np.float32) -> mp.mpf:
    """A float as it is."""
    return mp.mpf(float(v))


def lost(v: mp.mpf) -> float:
    """What rounding v to a float loses."""
    return float(abs(exact(rounded(v)) - v))


def row(values: list[np.float32]) -> str:
    """The values as C++ writes them."""
    texts = [f"{float(v):.9g}" for v in values]
    return ", ".join(t + ("f" if "." in t or "e" in t else ".0f") for t in texts)


def show(name: str, values: list[np.float32]) -> None:
    """Prints one table."""
    print(f"alignas(64) inline constexpr float {name}[16] = {{{row(values)}}};")


def fit_piece(
    f: Function, point: np.float32, start: float, stop: float, degree: int, lead: float, odd: bool
) -> list[np.float32]:
    """Coefficients c, f(x) = c[0] + lead d + c[1] d + c[2] d^2 ..., d = x - point.

    Weighted least squares in Chebyshev's points, relative to f. One coefficient after the other is
    rounded and the rest fitted to what remains.
    """
    c = [rounded(f(exact(point))) if point else np.float32(0)]
    nodes = [
        (start + stop) / 2 - (stop - start) / 2 * np.cos((k + 0.5) * np.pi / 60) for k in range(60)
    ]
    nodes = [x for x in nodes if abs(x - float(point)) > 1e-3 * (stop - start)]
    d = np.array([x - float(point) for x in nodes])
    value = [f(mp.mpf(x)) for x in nodes]
    weight = np.array([1 / float(v) for v in value])
    rest = [
        v - exact(c[0]) - lead * (mp.mpf(x) - exact(point))
        for x, v in zip(nodes, value, strict=True)
    ]
    for first in range(1, degree + 1):
        if odd and first % 2 == 0:
            c.append(np.float32(0))
            continue
        powers = [k for k in range(first, degree + 1) if not odd or k % 2]
        columns = np.stack([d**k for k in powers], axis=1) * weight[:, None]
        scale = np.abs(columns).max(axis=0)
        right = np.array([float(r) for r in rest]) * weight
        solution = np.linalg.lstsq(columns / scale, right, rcond=None)[0] / scale
        c.append(np.float32(solution[0]))
        rest = [r - exact(c[-1]) * mp.mpf(x) ** first for r, x in zip(rest, d, strict=True)]
    return c


def show_pieces(
    name: str,
    f: Function,
    ends: list[float],
    degree: int,
    lead: float,
    odd: bool = False,
    first: int = 0,
) -> None:
    """f on [0, ends[-1]], relative to f; piece 0 expands at zero and is entry number `first`."""
    points, tables, worst = [], [], mp.mpf(0)
    order = sorted(range(16), key=lambda j: (j + first) % 16)
    for j in range(16):
        start, stop = ends[j], ends[j + 1]
        point = np.float32(0)
        if j > 0:
            width = stop - start
            spread = (start + stop) / 2 + width * np.linspace(-0.03, 0.03, 3000)
            candidates = np.unique(spread.astype(np.float32))

            def cost(x: np.float32, width: float = width) -> float:
                slope = (f(exact(x) + mp.mpf(2) ** -40) - f(exact(x) - mp.mpf(2) ** -40)) * 2**39
                return 2 * lost(f(exact(x))) + lost(slope - lead) * width / 2

            point = min(candidates, key=cost)
        c = fit_piece(f, point, start, stop, degree, lead, odd and j == 0)
        points.append(point)
        tables.append(c)
        polynomial = [exact(v) for v in c]
        polynomial[1] += lead
        for k in range(0 if j else 1, 41):
            x = start + (stop - start) * mp.mpf(k) / 40
            error = abs(mp.polyval(polynomial[::-1], x - exact(point)) / f(x) - 1)
            worst = max(worst, error)
    print(f"// error 2^{float(mp.log(worst, 2)):.1f}, a float's rounding included")
    points, tables = [points[j] for j in order], [tables[j] for j in order]
    show(f"{name}_at", points)
    print(f"alignas(64) inline constexpr float {name}[{degree + 1}][16] = {{")
    print(",\n".join(f"{{{row([c[k] for c in tables])}}}" for k in range(degree + 1)) + "};")


def show_exp() -> None:
    """2^(j/16), and e^r = 1 + r + r^2 (c[0] + c[1] r) for |r| <= ln 2 / 32."""
    powers = [mp.mpf(2) ** (mp.mpf(j) / 16) for j in range(16)]
    show("exp_high", [rounded(v) for v in powers])
    show("exp_low", [rounded(v - exact(rounded(v))) for v in powers])

    def exp2nd(r: mp.mpf) -> mp.mpf:
        return mp.mpf(1) / 2 + r / 6 if abs(r) < 1e-12 else (mp.expm1(r) - r) / r**2

    half = mp.log(2) / 32 * mp.mpf("1.001")
    c, error = remez(exp2nd, lambda r: r * r + mp.mpf("1e-5"), 1, -half, half)
    print(f"// error 2^{float(mp.log(error, 2)):.1f}")
    print(f"inline constexpr float exp_rest[2] = {{{row([rounded(v) for v in c])}}};")


def best_inverse(near: np.ndarray) -> np.float32:
    """Whose logarithm loses the least by rounding."""
    return min(np.unique(near.astype(np.float32)), key=lambda c: lost(-mp.log(exact(c))))


def show_log() -> None:
    """For m in piece j of [3/4, 3/2): log m = log_of[j] + log(1 + r), r = m log_inverse[j] - 1.

    The pieces follow the first four bits of the fraction. Those beside 1 have an inverse of 1.
    log(1 + r) = r + r^2 (c[0] + c[1] r + ...), -1/30 <= r <= 1/16.
    """
    inverses, logs = [np.float32(1)], [np.float32(0)]
    for j in range(1, 15):
        start, stop = (16 + j, 17 + j) if j < 8 else (8 + j / 2, 8.5 + j / 2)
        near = 32 / (start + stop) * (1 + np.linspace(-0.01, 0.01, 3000) * (stop - start) / 16)
        inverses.append(best_inverse(near))
        logs.append(rounded(-mp.log(exact(inverses[-1]))))
    show("log_inverse", [*inverses, np.float32(1)])
    show("log_of", [*logs, np.float32(0)])

    def log2nd(r: mp.mpf) -> mp.mpf:
        return -mp.mpf(1) / 2 + r / 3 if abs(r) < 1e-12 else (mp.log1p(r) - r) / r**2

    def weight(r: mp.mpf) -> mp.mpf:
        return mp.mpf("1e-3") if abs(r) < 1e-9 else (r * r + mp.mpf("1e-5")) / abs(mp.log1p(r))

    c, error = remez(log2nd, weight, 3, -mp.mpf(1) / 29.9, mp.mpf(1) / 15.9)
    print(f"// error 2^{float(mp.log(error, 2)):.1f}")
    print(f"inline constexpr float log_rest[4] = {{{row([rounded(v) for v in c])}}};")


def show_log1p() -> None:
    """The same for log(1 + e), 0 <= e <= 1, j the integer nearest to 15 e.

    r = e log1p_inverse[j] + log1p_shift[j], where the shift is the inverse less 1.
    """
    inverses, logs = [np.float32(1)], [np.float32(0)]
    for j in range(1, 16):
        near = (1 + np.linspace(-0.02, 0.02, 3000) / 16) / (1 + j / 15)
        inverses.append(best_inverse(near))
        logs.append(rounded(-mp.log(exact(inverses[-1]))))
    show("log1p_inverse", inverses)
    show("log1p_shift", [v - np.float32(1) for v in inverses])
    show("log1p_of", logs)


def uniform(width: float, limit: float) -> list[float]:
    """Ends of the pieces around the multiples of width."""
    return [0.0, *[(j + 0.5) * width for j in range(15)], limit]


def main() -> None:
    """Prints the file."""
    print(HEAD)
    show_exp()
    show_log()
    show_log1p()
    show_pieces("tanh", mp.tanh, uniform(0.584, 9.02), 7, 1, odd=True)
    show_pieces("erf", mp.erf, uniform(0.26, 4.0), 6, 1, odd=True)
    # z e^(z^2/2) Phi(-z): four pieces for each octave of z + 1, numbered by the last two bits of
    # the exponent and the first two of the fraction; 1 has number 12.
    ends = [2.0**e * (1 + m / 4) - 1 for e in range(4) for m in range(4)]
    show_pieces("tail", lambda z: z * mills(z), [*ends, 15.0], 6, 0, first=12)
    print(FOOT)


HEAD = """\
// Printed by tools/fit_tables.py, which says what each table is. A table's 16 entries are a vector
// of AVX-512, picked from by one instruction.
#pragma once

namespace gradsmith::kernels::GS_ISA {
namespace {
namespace tables {
"""
FOOT = """
}  // namespace tables
}  // namespace
}  // namespace gradsmith::kernels::GS_ISA"""

if __name__ == "__main__":
    main()
