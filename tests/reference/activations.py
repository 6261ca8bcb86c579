#!/usr/bin/env python3
"""High-precision reference values for leaky ReLU and erf.

    pip install mpmath && python3 tests/reference/activations.py

writes activations.json next to this file (about a minute). See README.md for the fields.

Setting. Four vectors a, b, c, d and x ~ N(0, I); fields are a.x and so on. For g(u) = erf(u/sqrt 2) and for
g(u) = max(u, 0) + s min(u, 0), wanted are

  pair       E[g(a) g(b)]
  triple     E[g'(a) b g(c)]
  quadruple  E[g'(a) g'(b) g(c) g(d)]

erf. The closed forms of Saad and Solla (1995), with C the Gram matrix:

  pair       (2/pi) asin(Cab / sqrt((1 + Caa)(1 + Cbb)))
  triple     (2/pi) (Cbc (1 + Caa) - Cab Cac) / ((1 + Caa) sqrt((1 + Caa)(1 + Ccc) - Cac^2))
  quadruple  (4/pi^2) asin(L0 / sqrt(L1 L2)) / sqrt(L4),
             L4 = (1 + Caa)(1 + Cbb) - Cab^2
             L0 = L4 Ccd - Cbc Cbd (1 + Caa) - Cac Cad (1 + Cbb) + Cab Cac Cbd + Cab Cad Cbc
             L1 = L4 (1 + Ccc) - Cbc^2 (1 + Caa) - Cac^2 (1 + Cbb) + 2 Cab Cac Cbc, L2 the same with d for c.

Leaky ReLU. g(u) = u+ - s (-u)+ and g'(u) = H(u) + s H(-u): every average is a sum over the signs of the fields of ReLU
averages, which orthant.py gives for exact Gram matrices.

Each run checks the cases in two dimensions against quadrature in polar coordinates, with panels that end at the kinks.
"""

import json
import os
import random
from fractions import Fraction

import orthant
from mpmath import mp

DPS = 60
NODES = 60
DIGITS = 35
HERE = os.path.dirname(os.path.abspath(__file__))
SLOPES = [0.1, -0.3, 0.5, 2.0, -1.0]


def real(x):
    return mp.mpf(x.numerator) / mp.mpf(x.denominator)


def gram(rows):
    rows = [[Fraction(x) for x in r] for r in rows]
    return [[sum(x * y for x, y in zip(u, v)) for v in rows] for u in rows]


def erf_values(g):
    c = [[real(x) for x in row] for row in g]
    (aa, ab, ac, ad), (_, bb, bc, bd), (_, _, cc, cd), (_, _, _, dd) = c
    pair = 2 / mp.pi * mp.asin(ab / mp.sqrt((1 + aa) * (1 + bb)))
    l3 = (1 + aa) * (1 + cc) - ac**2
    triple = 2 / mp.pi * (bc * (1 + aa) - ab * ac) / ((1 + aa) * mp.sqrt(l3))
    l4 = (1 + aa) * (1 + bb) - ab**2
    l0 = l4 * cd - bc * bd * (1 + aa) - ac * ad * (1 + bb) + ab * ac * bd + ab * ad * bc
    l1 = l4 * (1 + cc) - bc**2 * (1 + aa) - ac**2 * (1 + bb) + 2 * ab * ac * bc
    l2 = l4 * (1 + dd) - bd**2 * (1 + aa) - ad**2 * (1 + bb) + 2 * ab * ad * bd
    quadruple = 4 / mp.pi**2 / mp.sqrt(l4) * mp.asin(l0 / mp.sqrt(l1 * l2))
    return pair, triple, quadruple


def leaky_values(g, slope):
    s = real(Fraction(slope))
    signed = lambda signs: [[g[i][j] * signs[i] * signs[j] for j in range(4)] for i in range(4)]
    pair = triple = quadruple = mp.mpf(0)
    for pattern in range(16):
        signs = [-1 if pattern >> i & 1 else 1 for i in range(4)]
        h = signed(signs)
        step = lambda i: s if signs[i] < 0 else 1
        ramp = lambda i: -s if signs[i] < 0 else 1
        if signs[2] == signs[3] == 1:
            pair += ramp(0) * ramp(1) * ramps(h, 0, 1)
        if signs[1] == signs[3] == 1:
            triple += step(0) * ramp(2) * step_linear_ramp(h)
        quadruple += step(0) * step(1) * ramp(2) * ramp(3) * orthant.values(h, n=NODES)["i4"]
    return pair, triple, quadruple


def ramps(g, i, j):
    """E[i+ j+]"""
    if g[i][i] == 0 or g[j][j] == 0:
        return mp.mpf(0)
    area = orthant.root(max(g[i][i] * g[j][j] - g[i][j] ** 2, Fraction(0)))
    return (area + (mp.pi - orthant.angle(g, i, j)) * real(g[i][j])) / (2 * mp.pi)


def step_linear_ramp(g):
    """E[H(a) b c+]"""
    if g[0][0] == 0 or g[2][2] == 0:
        return mp.mpf(0)
    area = orthant.root(max(g[0][0] * g[2][2] - g[0][2] ** 2, Fraction(0)))
    return (real(g[0][1]) * area / real(g[0][0]) + real(g[1][2]) * (mp.pi - orthant.angle(g, 0, 2))) / (2 * mp.pi)


def quadrature(rows, value, derivative):
    """The three averages of vectors in two dimensions."""
    ends = {mp.mpf(0), 2 * mp.pi}
    for x, y in rows:
        if x or y:
            kink = mp.atan2(y, x) + mp.pi / 2
            ends |= {kink % (2 * mp.pi), (kink + mp.pi) % (2 * mp.pi)}
    ends = sorted(ends)
    rule = orthant.rule(32)
    reach = mp.mpf(12)
    sums = [mp.mpf(0)] * 3
    for lo, hi in zip(ends, ends[1:]):
        for p, wp in rule:
            phi = (lo + hi) / 2 + (hi - lo) / 2 * p
            unit = [x * mp.cos(phi) + y * mp.sin(phi) for x, y in rows]
            for q, wq in orthant.rule(80):
                r = reach / 2 * (1 + q)
                a, b, c, d = (r * u for u in unit)
                weight = wp * (hi - lo) / 2 * wq * reach / 2 * r * mp.exp(-r * r / 2) / (2 * mp.pi)
                sums[0] += weight * value(a) * value(b)
                sums[1] += weight * derivative(a) * b * value(c)
                sums[2] += weight * derivative(a) * derivative(b) * value(c) * value(d)
    return sums


def configurations():
    rng = random.Random(11)
    draw = lambda n, size=1.0: [size * rng.gauss(0, 1) / n**0.5 for _ in range(n)]
    times = lambda s, v: [s * x for x in v]
    for n in (2, 2, 3, 3, 4, 4, 5, 8):
        yield "generic", [draw(n) for _ in range(4)]
    for size in (1e-3, 0.1, 5.0, 30.0):
        yield "size", [draw(4, size) for _ in range(4)]
    for i, j in orthant.PAIRS:
        for sign, kind in ((1.0, "equal"), (-1.0, "opposite"), (1.75, "parallel")):
            rows = [draw(4) for _ in range(4)]
            rows[j] = times(sign, rows[i])
            yield kind, rows
    for i, j in ((0, 1), (0, 2), (2, 3)):
        for gap in (1e-3, 1e-7, 1e-12):
            rows = [draw(4) for _ in range(4)]
            rows[j] = [x + gap * y for x, y in zip(rows[i], draw(4))]
            yield "near", rows
    u, v = draw(3), draw(3)
    yield "all equal", [u, u, u, u]
    yield "two and two", [u, v, u, v]
    yield "two and two", [u, u, v, v]
    yield "opposite twos", [u, times(-1.0, u), v, times(-1.0, v)]
    yield "zero", [u, v, [0.0] * 3, draw(3)]
    yield "zero", [u, v, draw(3), [0.0] * 3]
    yield "orthonormal", [[1.0 if i == j else 0.0 for j in range(4)] for i in range(4)]
    yield "large equal", [times(100.0, u), times(100.0, u), times(100.0, u), times(100.0, v)]


def text(x):
    return "0" if x == 0 else mp.nstr(x, DIGITS, strip_zeros=False)


def main():
    mp.dps = DPS
    cases = []
    for number, (kind, rows) in enumerate(configurations()):
        g, slope = gram(rows), SLOPES[number % len(SLOPES)]
        erf, leaky = erf_values(g), leaky_values(g, slope)
        if len(rows[0]) == 2:
            mp.dps = 20
            checks = (
                (erf, lambda u: mp.erf(u / mp.sqrt(2)), lambda u: mp.sqrt(2 / mp.pi) * mp.exp(-u * u / 2)),
                (leaky, lambda u: u if u > 0 else slope * u, lambda u: 1 if u > 0 else slope),
            )
            for found, value, derivative in checks:
                for x, y in zip(found, quadrature(rows, value, derivative)):
                    assert abs(x - y) < 1e-14, (kind, x, y)
            mp.dps = DPS
        names = ("pair", "triple", "quadruple")
        cases.append(
            {
                "kind": kind,
                "vectors": rows,
                "slope": slope,
                "erf": dict(zip(names, map(text, erf))),
                "leaky": dict(zip(names, map(text, leaky))),
            }
        )
    lines = ",\n".join(json.dumps(case) for case in cases)
    with open(os.path.join(HERE, "activations.json"), "w") as out:
        out.write('{"cases": [\n' + lines + "\n]}\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
