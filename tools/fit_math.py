"""Fits the coefficients in csrc/kernels/simd/math_coefficients.h and prints that table.

Polynomials by Remez exchange; rational functions by iterated weighted least squares followed by
Lawson's reweighting. Both minimise the relative error of the function that they end up in, in
60-digit arithmetic. Needs mpmath.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def remez(f, weight, degree, a, b):
    """Coefficients c of the polynomial that minimises max |weight * (f - p)| on [a, b]."""
    n = degree + 2
    points = [(a + b) / 2 + (b - a) / 2 * mp.cos(mp.pi * k / (n - 1)) for k in range(n)][::-1]
    grid = [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * k / 400) for k in range(401)]
    for _ in range(12):
        rows = [
            [x**k for k in range(degree + 1)] + [(-1) ** i / weight(x)]
            for i, x in enumerate(points)
        ]
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix([f(x) for x in points]))
        c = list(solution)[: degree + 1]
        errors = [weight(x) * (f(x) - mp.polyval(c[::-1], x)) for x in grid]
        extrema = []
        for x, e in zip(grid, errors, strict=True):
            if extrema and mp.sign(e) == mp.sign(extrema[-1][1]):
                if abs(e) > abs(extrema[-1][1]):
                    extrema[-1] = (x, e)
            else:
                extrema.append((x, e))
        if len(extrema) < n:
            break
        while len(extrema) > n:
            extrema.pop(0 if abs(extrema[0][1]) < abs(extrema[-1][1]) else -1)
        points = [x for x, _ in extrema]
    return c, max(abs(e) for e in errors)


def rational(f, top, bottom, points):
    """P of degree `top`, Q of degree `bottom`, Q(0) = 1, with P/Q close to f relatively."""
    values = [f(z) for z in points]
    q_at, lawson = [mp.mpf(1)] * len(points), [mp.mpf(1)] * len(points)
    best = None
    for step in range(40):
        rows, right = [], []
        for z, v, q, w in zip(points, values, q_at, lawson, strict=True):
            s = mp.sqrt(w) / (q * v)
            rows.append(
                [s * z**k for k in range(top + 1)] + [-s * v * z**k for k in range(1, bottom + 1)]
            )
            right.append(s * v)
        solution = list(mp.qr_solve(mp.matrix(rows), mp.matrix(right))[0])
        p, q = solution[: top + 1], [mp.mpf(1), *solution[top + 1 :]]
        q_at = [mp.polyval(q[::-1], z) for z in points]
        errors = [
            abs(mp.polyval(p[::-1], z) / qz / v - 1)
            for z, v, qz in zip(points, values, q_at, strict=True)
        ]
        if best is None or max(errors) < best[2]:
            best = (p, q, max(errors))
        if step > 3:
            lawson = [w * (e + max(errors) / 50) for w, e in zip(lawson, errors, strict=True)]
            scale = sum(lawson) / len(lawson)
            lawson = [w / scale for w in lawson]
    return best


def mills(z):
    """Normal tail over its density's exponential: Phi(-z) = exp(-z*z/2) * mills(z)."""
    return mp.exp(z * z / 2) * mp.erfc(z / mp.sqrt(2)) / 2


def show(name, dtype, coefficients, error):
    print(f"  // error 2^{float(mp.log(error, 2)):.1f}")
    suffix = "f" if dtype == "float" else ""
    cast = np.float32 if dtype == "float" else np.float64
    numbers = []
    for c in coefficients:
        rounded = cast(mp.nstr(c, 40))
        text = f"{rounded:.{9 if dtype == 'float' else 17}g}"
        assert cast(text) == rounded
        text += "" if "." in text or "e" in text else ".0"
        numbers.append(text + suffix)
    print(f"  static constexpr {dtype} {name}[] = {{{', '.join(numbers)}}};")


def show_mills_polynomial():
    """(z + 2) mills(z) = first + t * (second + t * rest(t)), t = offset - scale / (z + 2).

    For z up to 14.5, which puts t between -1 and 1. With a shift of 2 the first term happens to be
    a float to within a hundredth of its last place, so that it needs no low part.
    """
    shift = mp.mpf(2)
    low, high = 1 / (mp.mpf("14.5") + shift), 1 / shift
    scale = np.float32(2 / (high - low))
    offset = np.float32((high + low) / (high - low))
    exact_scale, exact_offset = mp.mpf(float(scale)), mp.mpf(float(offset))

    def over(t):
        inverse = (exact_offset - t) / exact_scale
        return mills(1 / inverse - shift) / inverse

    ends = [exact_offset - exact_scale * inverse for inverse in (high, low)]
    c, error = remez(over, lambda t: 1 / over(t), 11, *ends)
    print(f"  static constexpr float mills_scale = {scale:.9g}f, mills_offset = {offset:.9g}f;")
    first, second = (np.float32(mp.nstr(v, 40)) for v in c[:2])
    print(f"  static constexpr float mills_first = {first:.9g}f, mills_second = {second:.9g}f;")
    show("mills_rest", "float", c[2:], error)


def main():
    """Prints both structs."""
    half = mp.log(2) / 2 * mp.mpf("1.001")
    sizes = {
        "float": dict(exp=5, log=3, erf=6, sin=3, cos=3),
        "double": dict(exp=10, log=6, erf=12, sin=6, cos=6),
    }
    for dtype, size in sizes.items():
        print(f"template <> struct MathCoefficients<{dtype}> {{")

        def exp2nd(r):
            return mp.mpf(1) / 2 + r / 6 if abs(r) < 1e-20 else (mp.expm1(r) - r) / r**2

        show(
            "exp",
            dtype,
            *remez(exp2nd, lambda r: abs(r) + mp.mpf("1e-3"), size["exp"], -half, half),
        )

        def atanh3(z):  # log((1+s)/(1-s)) = 2s + s*R, R = z*(L1 + L2 z + ...), z = s*s
            s = mp.sqrt(z)
            return mp.mpf(2) / 3 if z < 1e-20 else (2 * mp.atanh(s) / s - 2) / z

        top = (3 - 2 * mp.sqrt(2)) ** 2
        show(
            "log", dtype, *remez(atanh3, lambda z: z + mp.mpf("1e-4"), size["log"], mp.mpf(0), top)
        )

        def erf1(t):
            x = mp.sqrt(t)
            return 2 / mp.sqrt(mp.pi) - 1 if t < 1e-30 else mp.erf(x) / x - 1

        show(
            "erf",
            dtype,
            *remez(erf1, lambda t: 1 / (erf1(t) + 1), size["erf"], mp.mpf(0), mp.mpf(1)),
        )

        if dtype == "float":

            def tanh3(t):
                x = mp.sqrt(t)
                return -mp.mpf(1) / 3 if t < 1e-20 else (mp.tanh(x) / x - 1) / t

            show(
                "tanh",
                dtype,
                *remez(tanh3, lambda t: t + mp.mpf("1e-3"), 4, mp.mpf(0), mp.mpf("0.3026")),
            )

        def sin3(t):
            x = mp.sqrt(t)
            return -mp.mpf(1) / 6 if t < 1e-20 else (mp.sin(x) / x - 1) / t

        def cos4(t):
            x = mp.sqrt(t)
            return mp.mpf(1) / 24 if t < 1e-15 else (mp.cos(x) - 1 + t / 2) / t**2

        quarter = (mp.pi / 4) ** 2 * mp.mpf("1.001")
        show(
            "sin",
            dtype,
            *remez(sin3, lambda t: t + mp.mpf("1e-3"), size["sin"] - 1, mp.mpf(0), quarter),
        )
        show(
            "cos",
            dtype,
            *remez(cos4, lambda t: t**2 + mp.mpf("1e-3"), size["cos"] - 1, mp.mpf(0), quarter),
        )
        if dtype == "float":
            show_mills_polynomial()
        else:
            points = [mp.mpf(39) * (mp.mpf(k) / 160) ** 3 for k in range(161)]
            p, q, error = rational(mills, 9, 10, points)
            show("mills_p", dtype, p, error)
            show("mills_q", dtype, q, error)
        print("};")


if __name__ == "__main__":
    main()
