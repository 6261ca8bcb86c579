#!/usr/bin/env python3
"""High-precision reference values for four jointly Gaussian fields.

    pip install mpmath && python3 tests/reference/orthant.py

writes orthant.json next to this file (about two minutes).
See README.md for the fields.

Setting.  a, b, c, d are zero-mean Gaussian with covariance C, H is the unit step and
c+ = max(c, 0).  Wanted are P3 = P(a, b, c > 0), P4 = P(a, b, c, d > 0),
I4 = E[H(a) H(b) c+ d+] and the derivatives of P4 and I4 by the entries of C.

Every input is a double and is treated as an exact number; C and its Schur complements
are exact fractions, so ranks and the signs of linear relations are decided exactly, and
no angle loses anything to cancellation in a determinant.  The rest is mpmath.

Orthants.  th_ij is the angle between the vectors v_i and v_j of which C is the Gram matrix.

  (P2) P(i, j > 0) = (pi - th_ij)/(2 pi).
  (P3) P(i, j, k > 0) = (2 pi - th_ij - th_ik - th_jk)/(4 pi): the solid angle of a cone
       with three facets, whose dihedral angles are pi - th.
  (S)  If the vectors are dependent, take a relation sum x_i v_i = 0 with as few terms as
       possible.  All x of one sign: the fields cannot all be positive, P = 0.  One of
       them against the others: that one is positive when the others are, drop it.  Two
       against two, {i, j} and {k, l}: the cone has the four facets i, k, j, l in this
       order, P4 = (2 pi - th_ik - th_il - th_jk - th_jl)/(4 pi).  Four vectors have no
       other case.
  (P4) Independent vectors: let psi be the angle between i and j after projecting out k
       and l, and turn v_i and v_j against each other around span(k, l), so that
       rho = r_ij = mid + half cos psi while all else stays.  Plackett's identity
         dP4/dC_ij = (density of i and j at 0) P(k, l > 0 | i = j = 0)      (i < j)
       with (P2) for the last factor gives
         dP4/dpsi = -half sin psi (pi - th_kl|ij) / (4 pi^2 sqrt(1 - rho^2)).
       At psi = 0 and psi = pi the vectors are dependent and (S) holds; integrate from the
       nearer end.  The integrand is singular only where a 2 x 2 or 3 x 3 minor with i and
       j in it vanishes.  These are at real rho outside the open interval of admissible
       rho, hence at psi = +-i y or pi +- i y with y known in advance.  Gauss-Legendre on
       [0, y] and on panels growing by a factor up to 3 from there has an error below
       3.7^(-2 nodes) on each of them, whatever y is.

Moments.  E[g H(i) H(j) ...] follows by integrating by parts (Stein's lemma): for w
linear in the fields
  (M1) E[w prod_S H] = sum_(i in S) C_wi E[delta(i) prod_(S - i) H]
  (M2) E[u w prod_S H] = C_uw P(S) + sum_(i in S) C_ui E[delta(i) w prod_(S - i) H]
where E[delta(i) X] = E[X | i = 0] / sqrt(2 pi C_ii), and the condition i = 0 turns C
into its Schur complement.  I4 is (M2) with u = c, w = d and S = {a, b, c, d}, or, when
the vectors are dependent, what (S) leaves of it.  The derivatives are
  dI4/dC_cd = P4                                 dI4/dC_ab = E[delta(a) delta(b) c+ d+]
  dI4/dC_ac = E[delta(a) H(b) H(c) d+], likewise ad, bc, bd
  dI4/dC_cc = (1/2) E[H(a) H(b) delta(c) d+], likewise dd
  2 C_aa dI4/dC_aa + C_ab dI4/dC_ab + C_ac dI4/dC_ac + C_ad dI4/dC_ad = 0, likewise b,
the last because I4 does not depend on the length of v_a.

(R) The two steps of (M2) written out for unit variances, with s_ij = sin th_ij and
p_ij = P(the other two > 0 | i = j = 0):
  I4 = r_cd P4 + (1/2pi) [ s_cd p_cd + r_ca s_ad p_ad + r_cb s_bd p_bd + r_da s_ac p_ac
                           + r_db s_bc p_bc + (T/s_ab) p_ab ],
  T = r_ca r_db + r_cb r_da - r_ab (r_ca r_da + r_cb r_db).
It serves as a check here.

Each run checks what it writes:
  - all independent cases: P4 by turning another pair at another precision, I4 by (R),
    all derivatives again at that precision;
  - a sample: P4 along C(t) = diagonal + t offdiagonal from t = 0 to 1 (all six
    correlations at once); I4 and P4 as integrals of the Gaussian density over the
    orthant; derivatives by central differences;
  - all dependent cases: limits of independent ones;
  - known values.
"""

import itertools
import json
import math
import os
import random
import time
from fractions import Fraction

from mpmath import mp

DPS = 140  # working digits; the worst cancellation here loses about 60
NODES = 100  # per panel
DIGITS = 35  # printed digits
HERE = os.path.dirname(os.path.abspath(__file__))
PAIRS = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
A, B, C, D = range(4)
ALL = (A, B, C, D)


# ---------------------------------------------------------------------------------
# Exact covariances: matrices of Fraction.


def real(x):
    return mp.mpf(x.numerator) / mp.mpf(x.denominator)


def root(x):
    return mp.sqrt(real(x))


def from_vectors(rows):
    rows = [[Fraction(x) for x in r] for r in rows]
    return [[sum(x * y for x, y in zip(u, v)) for v in rows] for u in rows]


def from_triangle(entries):
    g = [[Fraction(0)] * 4 for _ in ALL]
    for (i, j), x in zip(itertools.combinations_with_replacement(ALL, 2), entries):
        g[i][j] = g[j][i] = Fraction(x)
    return g


def given(g, *zero):
    """covariance given that these fields are 0"""
    for k in zero:
        g = [[g[i][j] - g[i][k] * g[k][j] / g[k][k] for j in ALL] for i in ALL]
    return g


def circuit(g, s):
    """{i: x_i} with sum x_i v_i = 0 and minimal support, None if s is independent"""
    done = []  # each new vector against independent ones
    for k in s:
        h = given(g, *done)
        assert h[k][k] >= 0, "not positive semidefinite"
        if h[k][k] > 0:
            done.append(k)
            continue
        relation = {k: Fraction(-1)}
        for i in done:
            rest = given(g, *[j for j in done if j != i])
            if rest[i][k] != 0:
                relation[i] = rest[i][k] / rest[i][i]
        return relation
    return None


def angle(g, i, j):
    return mp.atan2(root(max(g[i][i] * g[j][j] - g[i][j] ** 2, Fraction(0))), real(g[i][j]))


# ---------------------------------------------------------------------------------
# Orthants and moments.


def by_signs(s, signs):
    """(S): None for probability 0, else (remaining fields, the two classes or None)"""
    plus = [i for i in s if signs.get(i, 0) > 0]
    minus = [i for i in s if signs.get(i, 0) < 0]
    if not plus or not minus:
        return None
    for one in (plus, minus):
        if len(one) == 1:
            return [i for i in s if i != one[0]], None
    return list(s), (plus, minus)


def reduced(g, s):
    """s without the fields implied by others; None if they exclude each other"""
    s = list(s)
    while (relation := circuit(g, s)) is not None:
        found = by_signs(s, relation)
        if found is None or found[1]:
            return found
        s = found[0]
    return s, None


def orthant(g, s):
    """P(s > 0) unless s has four independent fields"""
    found = reduced(g, s)
    if found is None:
        return mp.mpf(0)
    return cone(found, lambda i, j: angle(g, i, j))


def cone(found, th):
    s, classes = found
    if classes:
        return (2 * mp.pi - sum(th(i, k) for i in classes[0] for k in classes[1])) / (4 * mp.pi)
    if len(s) == 3:
        return (2 * mp.pi - sum(th(i, j) for i, j in itertools.combinations(s, 2))) / (4 * mp.pi)
    return (mp.pi - th(*s)) / (2 * mp.pi) if len(s) == 2 else mp.mpf(1) / 2 ** len(s)


def density(g, i):
    return 1 / mp.sqrt(2 * mp.pi * real(g[i][i]))


def first(g, s, w):
    """(M1), s without dependence"""
    rest = [(i, [j for j in s if j != i]) for i in s]
    return sum(real(g[w][i]) * density(g, i) * orthant(given(g, i), r) for i, r in rest)


def second(g, s, u, w, p):
    """(M2), p = P(s > 0)"""
    total = real(g[u][w]) * p
    for i in s:
        total += real(g[u][i]) * density(g, i) * first(given(g, i), [j for j in s if j != i], w)
    return total


def derivatives(g, p4):
    """d_p4 (6) and d_i4 (10)"""
    joint = {}  # density of i and j at 0
    for i, j in PAIRS:
        joint[i, j] = density(g, i) * density(given(g, i), j)
    d_p4 = {}
    for i, j in PAIRS:
        d_p4[i, j] = joint[i, j] * orthant(given(g, i, j), [k for k in ALL if k not in (i, j)])
    d = {(C, D): p4}
    h = given(g, A, B)
    d[A, B] = joint[A, B] * second(h, [C, D], C, D, orthant(h, [C, D]))
    for i, k, w in ((A, C, D), (A, D, C), (B, C, D), (B, D, C)):
        d[i, k] = density(g, i) * first(given(g, i), [j for j in ALL if j != i], w)
    for k, w in ((C, D), (D, C)):
        d[k, k] = density(g, k) * first(given(g, k), [A, B, w], w) / 2
    for i in (A, B):
        total = sum(real(g[i][j]) * d[min(i, j), max(i, j)] for j in ALL if j != i)
        d[i, i] = -total / (2 * real(g[i][i]))
    order = itertools.combinations_with_replacement(ALL, 2)
    return [d_p4[ij] for ij in PAIRS], [d[ij] for ij in order]


# ---------------------------------------------------------------------------------
# (P4)


RULES = {}


def rule(n):
    """nodes and weights of Gauss-Legendre on (-1, 1)"""
    if (n, mp.dps) not in RULES:
        out = []
        for k in range((n + 1) // 2):
            x = mp.cos(mp.pi * (k + mp.mpf(3) / 4) / (n + mp.mpf(1) / 2))
            for _ in range(10):
                p, q = mp.mpf(1), mp.mpf(0)
                for j in range(n):
                    p, q = ((2 * j + 1) * x * p - j * q) / (j + 1), p
                slope = n * (x * p - q) / (x * x - 1)
                x -= p / slope
                if abs(p / slope) < mp.mpf(10) ** (-mp.dps // 2 - 5):
                    break
            p, q = mp.mpf(1), mp.mpf(0)
            for j in range(n):
                p, q = ((2 * j + 1) * x * p - j * q) / (j + 1), p
            slope = n * (x * p - q) / (x * x - 1)
            weight = 2 / ((1 - x * x) * slope**2)
            out += [(x, weight)] if 2 * k + 1 == n else [(x, weight), (-x, weight)]
        RULES[n, mp.dps] = out
    return RULES[n, mp.dps]


def integral(f, top, scale, n):
    """of f over (0, top), panels growing from scale"""
    scale = min(scale, top)
    count = int(mp.ceil(mp.log(top / scale) / mp.log(3)))
    ends = [scale * (top / scale) ** (mp.mpf(k) / max(count, 1)) for k in range(count + 1)]
    total = mp.mpf(0)
    for lo, hi in zip([mp.mpf(0)] + ends, ends):
        mid, half = (hi + lo) / 2, (hi - lo) / 2
        total += half * sum(w * f(mid + half * x) for x, w in rule(n))
    return total


def correlations(g):
    return [[real(g[i][j]) / mp.sqrt(real(g[i][i] * g[j][j])) for j in ALL] for i in ALL]


def turned(g, i, j, n=NODES):
    """P4 of independent fields by turning i and j"""
    k, l = [m for m in ALL if m not in (i, j)]
    h = given(g, k, l)
    length = mp.sqrt(real(g[i][i] * g[j][j]))
    mid, half = real(g[i][j] - h[i][j]) / length, root(h[i][i] * h[j][j]) / length
    psi = angle(h, i, j)
    side = 1 if h[i][j] >= 0 else -1  # start at psi = 0 or pi; call the distance psi
    if side < 0:
        psi = mp.atan2(mp.sin(psi), -mp.cos(psi))
    # v_i/|h_i| - side v_j/|h_j| = x v_k + y v_l at the start; the signs are exact
    signs = {i: 1, j: -side}
    for m, other in ((k, l), (l, k)):
        e = given(g, other)
        p, q = e[i][m], e[j][m] * side  # p/|h_i| - q/|h_j|
        p, q = p * abs(p) * h[j][j], q * abs(q) * h[i][i]
        signs[m] = -1 if p > q else 1 if p < q else 0
    start = mid + side * half
    if signs[k] == signs[l] == 0:
        start = mp.mpf(side)
    end = mp.acos(start) if abs(start) < 0.5 else mp.atan2(mp.sqrt((1 - start) * (1 + start)), start)
    found = by_signs(ALL, signs)
    p = mp.mpf(0)
    if found:
        p = cone(found, lambda s, t: end if {s, t} == {i, j} else angle(g, s, t))

    r = correlations(g)
    s = {(m, o): mp.sin(angle(g, m, o)) for m in ALL for o in ALL}
    scale = mp.pi / 2
    for edge in [mp.mpf(side)] + [r[i][m] * r[j][m] + side * s[i, m] * s[j, m] for m in (k, l)]:
        gap = side * (edge - start) / half
        if gap > mp.mpf(10) ** (-mp.dps // 2):  # a smaller one is an exact coincidence: smooth
            scale = min(scale, mp.acosh(1 + gap))

    plus, minus = 1 + start, 1 - start
    sums = r[k][i] * r[l][i] + r[k][j] * r[l][j], r[k][i] * r[l][j] + r[k][j] * r[l][i]

    def f(psi):
        step = 2 * side * half * mp.sin(psi / 2) ** 2
        rho, square = start - step, (plus - step) * (minus + step)
        base, sine = mp.sqrt(square), half * mp.sin(psi)
        along = r[k][l] * square - sums[0] + rho * sums[1]
        return sine / base * (mp.pi - mp.atan2(s[k, l] * sine * base, along))

    return p - side * integral(f, psi, scale, n) / (4 * mp.pi**2)


# ---------------------------------------------------------------------------------
# Values of a case.


def values(g, pair=(A, B), n=NODES):
    p3 = orthant(g, [A, B, C])
    if circuit(g, ALL) is None:
        p4 = turned(g, *pair, n)
        i4 = second(g, ALL, C, D, p4)
        d_p4, d_i4 = derivatives(g, p4)
        return {"p3": p3, "p4": p4, "i4": i4, "d_p4": d_p4, "d_i4": d_i4}
    found = reduced(g, ALL)
    p4 = i4 = mp.mpf(0)
    if found:
        p4 = orthant(g, ALL)
        i4 = second(g, found[0], C, D, p4)
    return {"p3": p3, "p4": p4, "i4": i4, "d_p4": None, "d_i4": None}


def flat(v):
    return [v["p3"], v["p4"], v["i4"]] + (v["d_p4"] or []) + (v["d_i4"] or [])


def distance(x, y):
    """largest relative difference; two numbers below TINY agree"""
    sizes = [max(abs(s), abs(t)) for s, t in zip(x, y)]
    return max([abs(s - t) / m for s, t, m in zip(x, y, sizes) if m > TINY] + [0])


TINY = mp.mpf(10) ** -100  # no value of a case is this small without being 0


# ---------------------------------------------------------------------------------
# Inputs.  All plain doubles.


def gauss(rng, n):
    return [rng.gauss(0.0, 1.0) for _ in range(n)]


def triangle(rows, unit=True):
    """covariance (of unit vectors, with ones on the diagonal) rounded to doubles"""
    if unit:
        rows = [[x / math.sqrt(math.fsum(y * y for y in r)) for x in r] for r in rows]
    out = []
    for i, j in itertools.combinations_with_replacement(ALL, 2):
        x = math.fsum(x * y for x, y in zip(rows[i], rows[j]))
        out.append(1.0 if unit and i == j else x)
    return out


def equal(r):
    return [1.0 if i == j else r for i, j in itertools.combinations_with_replacement(ALL, 2)]


def combined(terms):
    """sum of c v"""
    n = len(terms[0][1])
    return [sum(c * v[m] for c, v in terms) + 0.0 for m in range(n)]


def negated(v):
    return [-x + 0.0 for x in v]


def gram_cases(rng):
    yield "all 1/2", equal(0.5)
    yield "identity", equal(0.0)
    yield "known, variances", [1.0, 0.3, 0.2, -0.1, 1.5, 0.4, 0.25, 0.8, 0.15, 1.2]
    yield "known, correlations", [1.0, -0.4, 0.3, 0.5, 1.0, 0.1, -0.2, 1.0, 0.6, 1.0]
    for r in (0.9, 0.99, 0.25, -0.3, -0.1, -0.33):
        yield f"all {r}", equal(r)
    for r in (0.95, 0.7, 0.3, -0.3, -0.7, -0.95):
        yield f"powers of {r}", [r ** (j - i) for i, j in itertools.combinations_with_replacement(ALL, 2)]
    yield "only ab", [1.0, 0.6, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
    yield "only cd", [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, -0.7, 1.0]
    yield "only ac", [1.0, 0.0, 0.8, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
    yield "ab and cd", [1.0, 0.6, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, -0.7, 1.0]
    yield "ac and bd", [1.0, 0.0, -0.9, 0.0, 1.0, 0.0, 0.4, 1.0, 0.0, 1.0]
    yield "cycle", [1.0, 0.4, 0.0, 0.4, 1.0, 0.4, 0.0, 1.0, 0.4, 1.0]
    yield "d apart", [1.0, 0.5, 0.2, 0.0, 1.0, -0.3, 0.0, 1.0, 0.0, 1.0]
    yield "a apart", [2.0, 0.0, 0.0, 0.0, 1.0, 0.5, -0.5, 1.0, 0.25, 3.0]
    for dim in (4, 5, 8):
        for n in range(24):
            yield f"random, dimension {dim}, {n}", triangle([gauss(rng, dim) for _ in ALL])
    for n in range(40):  # one or two strong common factors, some with minus signs
        top = [0.9, 0.99, 0.999, 0.9995][n // 10]
        factors = [gauss(rng, 6), gauss(rng, 6)]
        rows = []
        for i in ALL:
            q = math.sqrt(top * rng.uniform(0.95, 1.0) if n % 3 else top)
            f = factors[i * (n % 2) % 2]
            size = math.sqrt(sum(x * x for x in f))
            noise = gauss(rng, 6)
            across = sum(x * y for x, y in zip(noise, f)) / size**2
            noise = [x - across * y for x, y in zip(noise, f)]
            length = math.sqrt(sum(x * x for x in noise))
            sign = -1.0 if n % 5 > 1 and rng.random() < 0.5 else 1.0
            p = math.sqrt(1 - q * q)
            rows.append([sign * (q * x / size + p * y / length) for x, y in zip(f, noise)])
        yield f"strong, up to {top}, {n % 10}", triangle(rows)
    for n in range(40):
        rows = [gauss(rng, 4 + n % 3) for _ in ALL]
        scales = [10.0 ** rng.uniform(-1.5, 1.5) / math.sqrt(sum(x * x for x in r)) for r in rows]
        rows = [[s * x for x in r] for s, r in zip(scales, rows)]
        yield f"variances 1e-3 to 1e3, {n}", triangle(rows, unit=False)
    for n in range(28):
        small = 10.0 ** -(3 + n % 4)
        v = [gauss(rng, 3) + [0.0] for _ in range(3)]
        rows = v + [combined([(rng.uniform(-1, 1), r) for r in v])]
        rows[3][3] = 2 * math.sqrt(small)
        order = [ALL, (3, 0, 1, 2), (0, 3, 1, 2), (2, 0, 3, 1)][n // 7]
        yield f"eigenvalue about {small:.0e}, {n // 4}", triangle([rows[m] for m in order])


ORDERS = [(0, 1, 2, 3), (3, 1, 2, 0), (2, 3, 0, 1), (0, 3, 2, 1)]


def singular_cases(rng):
    def integers(n):
        return [float(rng.randint(-4, 4)) for _ in range(n)]

    relations = {
        "4-0": [(-1, -2, -1), (-1, -1, -3)],
        "3-1": [(1, 2, 1), (1, -1, -2), (-1, -1, 2)],
        "2-2": [(1, 1, -1), (2, -1, 1), (-1, 3, 2)],
        "triple 3-0": [(-1, -1, 0)],
        "triple 2-1": [(1, 2, 0), (2, -1, 0)],
    }
    for name, list_of in relations.items():
        for m, x in enumerate(list_of):
            for n, order in enumerate(ORDERS[: 4 if "-" in name[:2] else 3]):
                while True:
                    v = [integers(4 + (m + n) % 2) for _ in range(3)]
                    if circuit(from_vectors(v + v[:1]), (0, 1, 2)) is None:
                        break
                rows = v + [combined([(float(c), r) for c, r in zip(x, v)])]
                if (m + n) % 2:  # other lengths keep the signs
                    rows[3] = combined([(0.375, rows[3])])
                yield f"rank 3, {name}, {m}{n}", [rows[i] for i in order]
    p, q, r = [1.0, 2.0, 0.0, -1.0], [2.0, -1.0, 1.0, 1.0], [1.0, 0.0, 3.0, 1.0]
    o = negated
    twice = combined([(2.0, p)])
    for name, rows in {
        "a = b": [p, p, q, r],
        "c = d": [p, q, r, r],
        "c = a": [p, q, p, r],
        "d = b": [p, q, r, q],
        "c = 2a": [p, q, twice, r],
        "c = a, d = b": [p, q, p, q],
        "c = b, d = a": [p, q, q, p],
        "a = b, c = d": [p, p, q, q],
        "a = b = c": [p, p, p, q],
        "a = c = d": [p, q, p, p],
        "b = -a": [p, o(p), q, r],
        "c = -a": [p, q, o(p), r],
        "d = -c": [p, q, r, o(r)],
        "c = a, d = -b": [p, q, p, o(q)],
        "c = -2a": [p, q, o(twice), r],
        "all equal": [p, p, p, p],
        "all parallel": [p, twice, p, twice],
        "c = -a = -b": [p, p, o(p), q],
        "all on one line, d = -a": [p, p, p, o(p)],
        "orthogonal, c = a, d = b": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]] * 2,
        "unit, 2-2": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1.0, 1.0, -1.0, 0.0]],
    }.items():
        yield name, rows
    plane = [[3.0, 1.0], [1.0, 2.0], [-1.0, 3.0], [1.0, -1.0], [-2.0, -1.0], [-1.0, -4.0], [4.0, -1.0]]
    for n, chosen in enumerate([(0, 1, 2, 3), (2, 3, 0, 1), (0, 6, 1, 3), (1, 0, 3, 2), (0, 2, 5, 1), (4, 5, 3, 1)]):
        yield f"rank 2, {n}", [combined([(plane[m][0], p), (plane[m][1], q)]) for m in chosen]


def near_cases(rng):
    def unit(n):
        v = gauss(rng, n)
        s = math.sqrt(sum(x * x for x in v))
        return [x / s for x in v]

    relations = {
        "4-0": (-0.7, -0.4, -0.9),
        "3-1": (0.8, 0.5, 0.3),
        "2-2": (0.7, 0.9, -0.6),
        "triple": (0.6, -0.9, 0.0),
    }
    for n, (h, (name, x)) in enumerate(itertools.product((1e-3, 1e-5, 1e-8, 1e-10, 1e-12), relations.items())):
        v = [gauss(rng, 3) + [0.0] for _ in range(3)]
        fourth = combined(list(zip(x, v)))
        fourth[3] = h
        rows = v + [fourth]
        yield f"h = {h:.0e} from dependent, {name}", [rows[i] for i in ORDERS[n % 4]]

    def moved(u, eps, sign=1.0):
        return combined([(sign, u), (eps, unit(len(u)))])

    pairs = {
        "a, b": (0, 1, 1.0),
        "c, d": (2, 3, 1.0),
        "a, c": (0, 2, 1.0),
        "a, -b": (0, 1, -1.0),
        "c, -d": (2, 3, -1.0),
        "b, -d": (1, 3, -1.0),
    }
    for n, (e, (name, (i, j, sign))) in enumerate(itertools.product((2, 4, 6, 8, 10, 12, 14), pairs.items())):
        rows = [unit(4 + n % 3) for _ in ALL]
        rows[j] = moved(rows[i], 10.0**-e, sign)
        yield f"{name} at 1e-{e}", rows
    for e, f in ((3, 3), (2, 6), (5, 9), (8, 4), (12, 3), (7, 14), (10, 10), (14, 14)):
        for m, (i, j, k, l) in enumerate([(0, 1, 2, 3), (0, 2, 1, 3)]):
            rows = [unit(5) for _ in ALL]
            sign = [(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)][(e + m) % 3]
            rows[j] = moved(rows[i], 10.0**-e, sign[0])
            rows[l] = moved(rows[k], 10.0**-f, sign[1])
            y = "abcd"
            minus = ["-" if n < 0 else "" for n in sign]
            yield f"{y[i]}, {minus[0]}{y[j]} at 1e-{e}; {y[k]}, {minus[1]}{y[l]} at 1e-{f}", rows
    for e in (3, 4, 6, 8):
        for name, signs in {
            "abc": (1, 1, 1, 0),
            "acd": (1, 0, 1, 1),
            "a, b, -c": (1, 1, -1, 0),
            "b, c, -d": (0, 1, 1, -1),
            "all": (1, 1, 1, 1),
            "a, b, c, -d": (1, 1, 1, -1),
            "a, -b, c, -d": (1, -1, 1, -1),
        }.items():
            u = unit(5)
            rows = [moved(u, 10.0**-e, float(s)) if s else unit(5) for s in signs]
            yield f"cluster {name} within 1e-{e}", rows


# ---------------------------------------------------------------------------------
# Checks by other routes.


def written_out(g, p4):
    """(R)"""
    r = correlations(g)
    s = {(i, j): mp.sin(angle(g, i, j)) for i in ALL for j in ALL}

    def p(i, j):
        return orthant(given(g, i, j), [k for k in ALL if k not in (i, j)])

    t = r[C][A] * r[D][B] + r[C][B] * r[D][A] - r[A][B] * (r[C][A] * r[D][A] + r[C][B] * r[D][B])
    total = s[C, D] * p(C, D) + t / s[A, B] * p(A, B)
    for i, j, k in ((C, A, D), (C, B, D), (D, A, C), (D, B, C)):
        total += r[i][j] * s[j, k] * p(j, k)
    return root(g[C][C]) * root(g[D][D]) * (r[C][D] * p4 + total / (2 * mp.pi))


def all_at_once(g, n):
    """P4 along C(t): Plackett's identity for all six correlations"""
    r = correlations(g)
    lowest = mp.eigsy(mp.matrix(r), eigvals_only=True)[0]

    def f(u):  # t = 1 - u
        q = [[1 if i == j else (1 - u) * r[i][j] for j in ALL] for i in ALL]
        total = 0
        for i, j in PAIRS:
            k, l = [m for m in ALL if m not in (i, j)]
            h = q
            for m in (i, j):
                h = [[h[x][y] - h[x][m] * h[m][y] / h[m][m] for y in ALL] for x in ALL]
            total += r[i][j] / mp.sqrt(1 - q[i][j] ** 2) * mp.asin(h[k][l] / mp.sqrt(h[k][k] * h[l][l]))
        return total

    plain = sum(mp.pi / 2 - angle(g, i, j) for i, j in PAIRS)
    return mp.mpf(1) / 16 + plain / (8 * mp.pi) + integral(f, mp.mpf(1), lowest / 2, n) / (4 * mp.pi**2)


def by_density(g, n):
    """P4 and I4 as integrals of the density over the orthant.

    On (a, b, c, d) = r x, unit variances, x in the simplex of sum 1, dadbdcdd = r^3 dr dx,
    and the integral over r leaves 2/q^2 (P4) and 8 x_c x_d/q^3 (I4), q = x^T C^-1 x.
    """
    m = mp.matrix(correlations(g))
    q = m**-1
    nodes = [((1 + x) / 2, w / 2) for x, w in rule(n)]
    p4 = i4 = mp.mpf(0)
    for (x, wx), (y, wy), (z, wz) in itertools.product(nodes, repeat=3):
        v = [x, (1 - x) * y, (1 - x) * (1 - y) * z, (1 - x) * (1 - y) * (1 - z)]
        form = sum(q[i, i] * v[i] ** 2 for i in ALL) + 2 * sum(q[i, j] * v[i] * v[j] for i, j in PAIRS)
        w = wx * wy * wz * (1 - x) ** 2 * (1 - y) / form**2
        p4 += w
        i4 += w * v[2] * v[3] / form
    c = 2 / (4 * mp.pi**2 * mp.sqrt(mp.det(m)))
    return [c * p4, 4 * c * i4 * root(g[C][C] * g[D][D])]


def differences(g):
    """d_p4 and d_i4 by central differences"""
    out = [], []
    small = Fraction(float(smallest(g)) * 1e-25)
    for i, j in itertools.combinations_with_replacement(ALL, 2):
        step = small * Fraction(math.sqrt(g[i][i] * g[j][j]))
        ends = []
        for sign in (1, -1):
            h = [row[:] for row in g]
            h[i][j] += sign * step
            if i != j:
                h[j][i] += sign * step
            p4 = turned(h, B, C)
            ends.append((p4, written_out(h, p4)))
        slopes = [(x - y) / (2 * real(step)) for x, y in zip(*ends)]
        if i != j:
            out[0].append(slopes[0])
        out[1].append(slopes[1])
    return out[0] + out[1]


def limit(g, h, n):
    """P4 and I4 of a dependent case made independent by a displacement h"""
    g = [row[:] for row in g]
    for i, w in zip(ALL, (3, 7, 2, 5)):
        g[i][i] += w * g[i][i] * Fraction(h) ** 2
    v = turned(g, A, B, n)
    return [v, second(g, ALL, C, D, v)]


def known(cases):
    """values given beforehand"""
    p = mp.pi
    for name, p4, i4, digits in (
        ("all 1/2", mp.mpf(1) / 5, mp.mpf("0.233336739328439"), 14),
        ("identity", mp.mpf(1) / 16, 1 / (8 * p), DIGITS - 1),
        ("known, variances", mp.mpf("0.106841146624947"), mp.mpf("0.0874580887435214"), 14),
        ("known, correlations", mp.mpf("0.0954223135907883"), mp.mpf("0.107830743622194"), 14),
    ):
        v = cases[name]
        assert distance([mp.mpf(v["p4"]), mp.mpf(v["i4"])], [p4, i4]) < mp.mpf(10) ** -digits, name
    for r in (0.9, 0.25):  # equal correlations: one common factor, a one-dimensional integral
        c = mp.sqrt(mp.mpf(r) / (1 - mp.mpf(r)))
        both = lambda z: mp.npdf(z) * (mp.ncdf(c * z) ** 4 + mp.ncdf(-c * z) ** 4)
        value = mp.quad(both, [0, 1, 3, 6, 12, 25])
        assert abs(value - mp.mpf(cases[f"all {r}"]["p4"])) < mp.mpf(10) ** -34, r
    assert mp.mpf(cases["all 1/2"]["p4"]) == mp.mpf("0.2")


# ---------------------------------------------------------------------------------


def text(x):
    return "0" if abs(x) < TINY else mp.nstr(x, DIGITS, strip_zeros=False)


def inputs():
    for name, entries in gram_cases(random.Random(11)):
        yield name, "gram", entries, from_triangle(entries)
    for seed, source in ((12, singular_cases), (13, near_cases)):
        for name, rows in source(random.Random(seed)):
            yield name, "vectors", rows, from_vectors(rows)


def smallest(g):
    return mp.eigsy(mp.matrix(correlations(g)), eigvals_only=True)[0]


class Worst(dict):
    """largest disagreement and number of cases of each check"""

    def add(self, what, x, bound):
        n, worst = self.get(what, (0, 0))
        self[what] = (n + 1, max(x, worst))
        assert x < bound, (what, mp.nstr(x, 5))


def main():
    start = time.time()
    cases, seen, worst = [], {}, Worst()
    for number, (name, kind, entries, g) in enumerate(inputs()):
        mp.dps = DPS
        dependent = circuit(g, ALL) is not None
        v = values(g)
        case = {"name": name, "kind": kind}
        case["class"] = "singular" if dependent else "near" if smallest(g) < 1e-3 else "regular"
        case["gram" if kind == "gram" else "vectors"] = entries
        if dependent:
            deep = number % 3 == 0
            h = mp.mpf(10) ** (-40 if deep else -20)
            mp.dps = 240
            other = limit(g, Fraction(1, 10 ** (40 if deep else 20)), 80 if deep else 30)
            gap = max(abs(x - y) for x, y in zip(other, (v["p4"], v["i4"])))
            worst.add(f"singular against limit {mp.nstr(h, 1)}", gap, 1000 * h * real(max(g[C][C], g[D][D])))
        else:
            mp.dps = DPS + 25
            w = values(g, (B, D), NODES + 15)
            worst.add("another pair, another precision", distance(flat(v), flat(w)), mp.mpf(10) ** -36)
            worst.add("I4 written out", distance([v["i4"]], [written_out(g, w["p4"])]), mp.mpf(10) ** -36)
            mp.dps = DPS
            if number % 9 == 0 or case["class"] == "near" and number % 5 == 0 and smallest(g) > 1e-12:
                worst.add("six correlations at once", abs(all_at_once(g, 45) - v["p4"]), mp.mpf(10) ** -36)
            if number % 15 == 0:
                d = distance(v["d_p4"] + v["d_i4"], differences(g))
                worst.add("derivatives by differences", d, mp.mpf(10) ** -35)
            if number % 6 == 2 and smallest(g) > 0.2:
                mp.dps = 25
                d = distance([v["p4"], v["i4"]], by_density(g, 20))
                mp.dps = DPS
                worst.add("density over the orthant", d, 1e-5)
        for key in ("p3", "p4", "i4"):
            case[key] = text(v[key])
        for key in ("d_p4", "d_i4"):
            case[key] = v[key] and [text(x) for x in v[key]]
        assert name not in seen, name
        cases.append(case)
        seen[name] = case
    mp.dps = 45
    known(seen)
    for what, (n, x) in worst.items():
        print(f"{n:4d} {what}: largest disagreement {mp.nstr(x, 3)}")
    out = '{"cases":[\n' + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n"
    with open(os.path.join(HERE, "orthant.json"), "w", encoding="ascii", newline="\n") as f:
        f.write(out)
    count = {}
    for c in cases:
        count[c["class"]] = count.get(c["class"], 0) + 1
    print(f"orthant.json: {len(cases)} cases, {count}; {len(out)} bytes; {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
