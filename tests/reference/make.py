#!/usr/bin/env python3
"""High-precision reference values for ReLU expectations and population losses.

    pip install mpmath && python3 tests/reference/make.py

writes relu.json next to this file (about a minute).  See README.md for the fields.

Setting.  x ~ N(0, I), f(x) = sum_k a_k relu(w_k.x), f*(x) = sum_m b_m relu(v_m.x),
L = (1/2) E[(f - f*)^2].

Every input is a double and is treated as an exact number.  Inner products of inputs
are formed as exact fractions, so that an exactly parallel, antiparallel or orthogonal
pair is recognised as such and a tiny angle loses nothing to cancellation in the Gram
determinant; everything after that is mpmath at DPS digits.

Closed forms.  For u, v at angle th in [0, pi], with unit vectors u^ and v^:

  (P)  E[relu(u.x) relu(v.x)] = |u||v| (sin th + (pi - th) cos th) / (2 pi)
       the degree-1 arc-cosine kernel of Cho and Saul (2009); in polar coordinates of
       the plane of u and v it is (|u||v|/pi) int cos(p) cos(p - th) dp over the arc
       th - pi/2 < p < pi/2 where both factors are positive (E r^2 = 2).
  (O)  P(u.x > 0, v.x > 0) = (pi - th) / (2 pi): that arc over the full circle.
  (T)  E[H(u.x) (v.x) relu(w.x)]
         = Cuv sqrt(Cuu Cww - Cuw^2) / (2 pi Cuu) + Cvw (pi - th_uw) / (2 pi)
       with C the inner products.  Stein's lemma in the direction v: the first term is
       Cuv E[delta(u.x) relu(w.x)], where u.x has density 1/sqrt(2 pi Cuu) at 0 and w.x
       given u.x = 0 is normal with variance Cww - Cuw^2/Cuu; the second is
       Cvw P(u.x > 0, w.x > 0), and (pi - th)/(2 pi) = 1/4 + arcsin(rho_uw)/(2 pi).
  (L)  L = (1/2) sum_ij c_i c_j P(r_i, r_j) over all rows r = (w; v), c = (a; -b).
  (G)  dP(w, v)/dw = g(w, v) = (|v| sin th w^ + (pi - th) v) / (2 pi), hence
       dL/dw_i = a_i [ a_i w_i/2 + sum_{j != i} a_j g(w_i, w_j) - sum_m b_m g(w_i, v_m) ].
  (H1) d^2 P(w, v)/dw dw = h1(w, v)
         = |v| sin th / (2 pi |w|) (I - w^ w^T + n n^T),  n = (v^ - cos th w^)/sin th,
       and 0 at th = 0 or pi.  The diagonal block of the Hessian is
       a_i^2/2 I + a_i sum_{j != i} a_j h1(w_i, w_j) - a_i sum_m b_m h1(w_i, v_m).
  (H2) d^2 P(w_i, w_j)/dw_i dw_j = ((pi - th) I + w_i^ n_ij^T + w_j^ n_ji^T) / (2 pi),
       n_ij = (w_j^ - cos th w_i^)/sin th, n_ji = (w_i^ - cos th w_j^)/sin th; I/2 at
       th = 0 and 0 at th = pi.  Row index mu belongs to w_i and column index nu to w_j.
       The matrix is symmetric, so it equals its transpose
       ((pi - th) I + n_ij w_i^T + n_ji w_j^T)/(2 pi), and also
       ((pi - th) I + sin th R)/(2 pi), R the reflection in the plane of w_i and w_j
       that exchanges w_i^ and w_j^ (zero on the orthogonal complement).
       The off-diagonal block (i, j) is a_i a_j times (H2).
"""

import json
import math
import os
import random
import time
from fractions import Fraction

from mpmath import mp

DPS = 130  # working digits; the worst cancellation here loses about 60
DIGITS = 35  # printed digits
LOSS_DIGITS = 40
mp.dps = DPS

HERE = os.path.dirname(os.path.abspath(__file__))
ANGLES = [1e-3, 1e-6, 1e-9, 1e-12, 1e-15]


# ---------------------------------------------------------------------------------
# Geometry and closed forms.  Vectors are lists of Fraction (exact) or of mpf; the
# mpf route is used only where mp.diff moves the point off the doubles.


def exact(v):
    return [Fraction(x) for x in v]


def exact_rows(rows):
    return [exact(r) for r in rows]


def real(x):
    """Fraction, int or float to mpf at the current precision."""
    if isinstance(x, Fraction):
        return mp.mpf(x.numerator) / mp.mpf(x.denominator)
    return mp.mpf(x)


def reals(v):
    return [real(x) for x in v]


def dot(u, v):
    return sum((x * y for x, y in zip(u, v)), 0 * u[0])


def norm(u):
    return mp.sqrt(real(dot(u, u)))


def unit(u):
    n = norm(u)
    return [real(x) / n for x in u]


class Plane:
    """The plane of two nonzero vectors: |u|, |v|, |u||v| sin th, |u||v| cos th, pi - th."""

    def __init__(self, u, v):
        uu, vv, uv = dot(u, u), dot(v, v), dot(u, v)
        det = uu * vv - uv * uv  # exact for Fractions
        self.nu, self.nv = mp.sqrt(real(uu)), mp.sqrt(real(vv))
        self.aligned = det <= 0  # exactly parallel or antiparallel
        self.opposite = self.aligned and uv < 0
        self.area = mp.mpf(0) if self.aligned else mp.sqrt(real(det))
        self.dot = real(uv)
        self.supplement = mp.atan2(self.area, -self.dot)  # pi - th, no cancellation
        if self.opposite:
            self.supplement = mp.mpf(0)
        self.sine = self.area / (self.nu * self.nv)
        self.cosine = self.dot / (self.nu * self.nv)


def is_zero(u):
    return all(x == 0 for x in u)


def pair(u, v):
    """(P)"""
    if is_zero(u) or is_zero(v):
        return mp.mpf(0)
    p = Plane(u, v)
    if p.opposite:
        return mp.mpf(0)
    return (p.area + p.supplement * p.dot) / (2 * mp.pi)


def triple(u, v, w):
    """(T); u must not be zero"""
    if is_zero(w) or is_zero(v):
        return mp.mpf(0)
    p = Plane(u, w)
    cuv, cvw = real(dot(u, v)), real(dot(v, w))
    return cuv * p.area / (2 * mp.pi * p.nu**2) + cvw * p.supplement / (2 * mp.pi)


def loss(w, v, a, b):
    """(L)"""
    rows = list(w) + list(v)
    coef = [real(x) for x in a] + [-real(x) for x in b]
    total = mp.mpf(0)
    for i in range(len(rows)):
        total += coef[i] ** 2 * real(dot(rows[i], rows[i])) / 4
        for j in range(i):
            total += coef[i] * coef[j] * pair(rows[i], rows[j])
    return total


def is_exact_zero(w, v, a, b):
    """Whether f = f* identically, decided in exact arithmetic.

    relu(t) = |t|/2 + t/2, and the functions |l.x| of distinct lines l are linearly
    independent of each other and of the linear functions.  So f = f* if and only if the
    linear parts cancel and, on each line, the signed lengths cancel.
    """
    rows = [(Fraction(c), exact(r)) for c, r in zip(a, w)]
    rows += [(-Fraction(c), exact(r)) for c, r in zip(b, v)]
    rows = [(c, r) for c, r in rows if not is_zero(r)]
    if any(sum(c * r[mu] for c, r in rows) != 0 for mu in range(len(v[0]))):
        return False
    lines = []  # [direction, signed length in units of the direction]
    for c, r in rows:
        for line in lines:
            d = line[0]
            rd, dd = dot(r, d), dot(d, d)
            if rd * rd == dot(r, r) * dd:
                line[1] += c * abs(rd) / dd
                break
        else:
            lines.append([r, c])
    return all(length == 0 for _, length in lines)


def g(w, v):
    """(G), the gradient of pair(w, v) in w"""
    p = Plane(w, v)
    wh = unit(w)
    return [
        (p.nv * p.sine * x + p.supplement * real(y)) / (2 * mp.pi) for x, y in zip(wh, v)
    ]


def across(w, v, p):
    """(v^ - cos th w^) / sin th"""
    return [(y - p.cosine * x) / p.sine for x, y in zip(unit(w), unit(v))]


def h1(w, v):
    """(H1)"""
    d = len(w)
    p = Plane(w, v)
    if p.aligned:
        return [[mp.mpf(0)] * d for _ in range(d)]
    wh, n = unit(w), across(w, v, p)
    s = p.nv * p.sine / (2 * mp.pi * p.nu)
    return [
        [s * ((mu == nu) - wh[mu] * wh[nu] + n[mu] * n[nu]) for nu in range(d)]
        for mu in range(d)
    ]


def h2(wi, wj):
    """(H2)"""
    d = len(wi)
    p = Plane(wi, wj)
    block = [[p.supplement * (mu == nu) / (2 * mp.pi) for nu in range(d)] for mu in range(d)]
    if not p.aligned:
        hi, hj, nij, nji = unit(wi), unit(wj), across(wi, wj, p), across(wj, wi, p)
        for mu in range(d):
            for nu in range(d):
                block[mu][nu] += (hi[mu] * nij[nu] + hj[mu] * nji[nu]) / (2 * mp.pi)
    return block


def gradient(w, v, a, b):
    """K rows of D"""
    out = []
    for i, wi in enumerate(w):
        ai = real(a[i])
        row = [ai * real(x) / 2 for x in wi]
        terms = [(real(a[j]), w[j]) for j in range(len(w)) if j != i]
        terms += [(-real(bm), vm) for bm, vm in zip(b, v)]
        for c, r in terms:
            row = [x + c * y for x, y in zip(row, g(wi, r))]
        out.append([ai * x for x in row])
    return out


def hessian(w, v, a, b):
    """KD x KD, entry (i D + mu, j D + nu) = d^2 L / dw_{i,mu} dw_{j,nu}"""
    k, d = len(w), len(w[0])
    out = [[mp.mpf(0)] * (k * d) for _ in range(k * d)]

    def add(i, j, c, block):
        for mu in range(d):
            for nu in range(d):
                out[i * d + mu][j * d + nu] += c * block[mu][nu]

    for i in range(k):
        ai = real(a[i])
        add(i, i, ai**2 / 2, [[mp.mpf(mu == nu) for nu in range(d)] for mu in range(d)])
        for bm, vm in zip(b, v):
            add(i, i, -ai * real(bm), h1(w[i], vm))
        for j in range(k):
            if j != i:
                aj = real(a[j])
                add(i, i, ai * aj, h1(w[i], w[j]))
                add(i, j, ai * aj, h2(w[i], w[j]))
    return out


def spectrum(k):
    """Eigenvalues of the Hessian at W = V = I_k, a = b = 1, with multiplicities.

    There the diagonal blocks are I/2 (students and teachers cancel in (H1)) and the
    off-diagonal ones I/4 + c (e_i e_j^T + e_j e_i^T), c = 1/(2 pi), so on a matrix D of
    displacements (row i for student i) and with S_n the sum of column n,
        (H D)_in = D_in/4 + S_n/4 + c D_ni            for n != i,
        (H D)_ii = D_ii/4 + S_i/4 + c (tr D - D_ii),
    which permutations of the indices split into the families below.  Each dimension
    orthogonal to the teachers adds the k x k matrix I/4 + (all ones)/4.
    """
    c = 1 / (2 * mp.pi)
    q = mp.mpf(1) / 4

    def roots(s, p):
        """both roots of x^2 - s x + p, the smaller one without cancellation"""
        big = (s + mp.sqrt(s * s - 4 * p)) / 2
        return [p / big, big]

    within = [(q - c, k * (k - 1) // 2), (q + c, k * (k - 3) // 2)]
    for x in roots(mp.mpf(k + 2) / 4, mp.mpf(k + 1) / 16 + c / 2 - c**2):
        within.append((x, k - 1))
    s = mp.mpf(1) / 2 + mp.mpf(k) / 4 + k * c
    p = (mp.mpf(1) / 2 + (k - 1) * c) * (mp.mpf(k) / 4 + c) - mp.mpf(k - 1) / 16
    for x in roots(s, p):
        within.append((x, 1))
    transverse = [(q, k - 1), (mp.mpf(k + 1) / 4, 1)]
    return sorted(within), sorted(transverse)


# ---------------------------------------------------------------------------------
# Inputs.  All plain doubles.


def gauss(rng, d, scale=1.0):
    return [scale * rng.gauss(0.0, 1.0) for _ in range(d)]


def scaled(v, s):
    return [s * x + 0.0 for x in v]  # + 0.0 turns -0.0 into 0.0


def negated(v):
    return scaled(v, -1.0)


def plus(u, v):
    return [x + y for x, y in zip(u, v)]


def identity(k, d=None):
    return [[1.0 if i == mu else 0.0 for mu in range(d or k)] for i in range(k)]


def rotated(v, p, q):
    """the first two coordinates rotated, and scaled by sqrt(p^2 + q^2)"""
    return [p * v[0] - q * v[1], q * v[0] + p * v[1]] + v[2:]


def near_pairs():
    """(kind, u, v): v at a tiny angle from u ("parallel") or from -u ("antiparallel")."""
    out = []
    for t in ANGLES:
        dyadic = 2.0 ** round(math.log2(t))
        variants = [
            ([1.0, 0.0], [1.0, t]),
            ([0.375, 0.0, 0.0], [7.3, 0.0, -7.3 * t]),
            (rotated([1.0, 0.0], 3.0, 4.0), rotated([1.0, dyadic], 3.0, 4.0)),
            (rotated([0.3, 0.0, 0.0, 0.0], 5.0, 12.0), rotated([0.3, 0.3 * t, 0.0, 0.2 * t], 5.0, 12.0)),
        ]
        for u, v in variants:
            out.append(("near parallel", t, u, v))
            out.append(("near antiparallel", t, u, negated(v)))
    return out


def make_pairs(rng):
    cases = []

    def add(kind, u, v):
        cases.append((kind, u, v))

    for n in range(30):
        d = 2 + n % 4
        s = [1.0, 1.0, 0.1, 10.0][n // 8]
        add("generic", gauss(rng, d), gauss(rng, d, s))
    add("orthogonal", [1.0, 0.0], [0.0, 1.0])
    add("orthogonal", [3.0, 4.0], [-4.0, 3.0])
    add("orthogonal", [0.6, 0.8], [-0.8, 0.6])
    add("orthogonal", [1.0, 2.0, 2.0], [2.0, 1.0, -2.0])
    add("orthogonal", [0.1, 0.0, 0.3, 0.0], [0.0, -7.7, 0.0, 1.1])
    add("near orthogonal", [1.0, 0.0], [1e-9, 1.0])
    add("near orthogonal", [3.0, 4.0], [-4.0, 3.0 - 1e-12])
    add("near orthogonal", [1.0, 0.0, 1e-15], [-1e-15, 0.7, 0.0])
    for d in (2, 3, 5):
        u = gauss(rng, d)
        add("equal", u, u)
        add("parallel", u, scaled(u, 0.25))
        add("antiparallel", u, negated(u))
        add("antiparallel", u, scaled(u, -1024.0))
    for u in ([3.0, 4.0], [1.0, -2.0, 5.0], [7.0, 0.0, 1.0, -3.0]):
        add("parallel", u, scaled(u, 3.0))
        add("antiparallel", u, scaled(u, -7.0))
    add("parallel", [1.0, 0.0], [0.1, 0.0])
    add("antiparallel", [0.0, 0.3], [0.0, -0.7])
    for kind, _, u, v in near_pairs():
        add(kind, u, v)
    for d in (2, 3, 5):
        u = gauss(rng, d)
        v = [math.nextafter(u[0], math.inf)] + u[1:]
        add("one ulp from equal", u, v)
        add("one ulp from opposite", u, negated(v))
    for d in (2, 3, 4, 5):
        add("norms 1e-8 and 1e8", gauss(rng, d, 1e-8), gauss(rng, d, 1e8))
    u = gauss(rng, 3, 1e8)
    add("norms 1e-8 and 1e8", u, scaled(u, 2.0**-53))
    add("norms 1e-8 and 1e8", u, scaled(u, -(2.0**-53)))
    add("norms 1e-8 and 1e8", [1e8, 0.0], [1e-8, 1e-17])
    add("norms 1e-8 and 1e8", [1e8, 0.0], [-1e-8, 1e-17])
    add("zero", [0.0, 0.0], [1.0, 2.0])
    add("zero", gauss(rng, 3), [0.0, 0.0, 0.0])
    add("zero", [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0])
    return cases


def make_triples(rng):
    cases = []

    def add(kind, u, v, w):
        cases.append((kind, u, v, w))

    for n in range(32):
        d = 2 + n % 4
        add("generic", gauss(rng, d), gauss(rng, d), gauss(rng, d, [1.0, 0.1, 10.0, 1.0][n // 8]))
    for d in (2, 3, 4, 5):
        u, w = gauss(rng, d), gauss(rng, d)
        add("v = u", u, u, w)
        add("v = w", u, w, w)
    for d in (2, 3, 5):
        u, v = gauss(rng, d), gauss(rng, d)
        add("w = u", u, v, u)
        add("w = -u", u, v, negated(u))
        add("w parallel to u", u, v, scaled(u, 0.125))
        add("w antiparallel to u", u, v, scaled(u, -8.0))
        add("all equal", u, u, u)
    add("w parallel to u", [1.0, -2.0, 5.0], gauss(rng, 3), [3.0, -6.0, 15.0])
    add("w antiparallel to u", [3.0, 4.0], gauss(rng, 2), [-21.0, -28.0])
    add("v orthogonal to u and w", [0.5, 0.3, 0.0], [0.0, 0.0, 2.0], [-1.0, 0.7, 0.0])
    add("v orthogonal to u and w", [0.0, 1.0, 2.0, 0.0], [1.5, 0.0, 0.0, -1.0], [0.0, 0.3, -0.9, 0.0])
    add("v orthogonal to u and w", [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 1e-9, 0.0])
    add("v orthogonal to u", [1.0, 0.0], [0.0, 1.0], [0.6, 0.8])
    add("v orthogonal to w", [3.0, 4.0], [-0.8, 0.6], [0.6, 0.8])
    add("orthonormal u, w", [1.0, 0.0, 0.0], [0.2, -0.5, 0.1], [0.0, 1.0, 0.0])
    for n, (kind, _, u, w) in enumerate(near_pairs()):
        d = len(u)
        if n % 8 in (0, 1, 4, 5):  # plain and rotated, parallel and antiparallel
            v = gauss(rng, d)
        elif n % 8 in (2, 3):
            v = [u, w][n // 8 % 2]
        else:
            v = [0.0] * (d - 1) + [1.0]
        add("w " + kind + " to u", u, v, w)
    for d in (2, 3):
        add("norms 1e-8 and 1e8", gauss(rng, d, 1e-8), gauss(rng, d), gauss(rng, d, 1e8))
        add("norms 1e-8 and 1e8", gauss(rng, d, 1e8), gauss(rng, d, 1e-8), gauss(rng, d, 1e-8))
    add("norms 1e-8 and 1e8", [1e8, 0.0], [0.3, 0.4], [-1e-8, 1e-17])
    add("zero w", gauss(rng, 3), gauss(rng, 3), [0.0, 0.0, 0.0])
    add("zero v", gauss(rng, 3), [0.0, 0.0, 0.0], gauss(rng, 3))
    return cases


def correlated_teacher(rng, m, d):
    """unit vectors (up to rounding) around a common direction"""
    common = gauss(rng, d)
    rows = []
    for _ in range(m):
        r = plus(common, gauss(rng, d))
        n = math.sqrt(sum(x * x for x in r))
        rows.append([x / n for x in r])
    return rows


def perturbed(rng, rows, eps):
    return [plus(r, gauss(rng, len(r), eps)) for r in rows]


def ones(n):
    return [1.0] * n


def make_losses(rng):
    cases = []

    def add(kind, eps, w, v, a=None, b=None):
        cases.append((kind, eps, w, v, a or ones(len(w)), b or ones(len(v))))

    # (i) generic
    for n in range(30):
        k, m, d = rng.randint(1, 6), rng.randint(1, 6), rng.randint(1 + (n % 5 > 0), 8)
        w = [gauss(rng, d) for _ in range(k)]
        v = [gauss(rng, d) for _ in range(m)]
        if n % 3 == 2:
            add("generic", None, w, v, gauss(rng, k), gauss(rng, m))
        else:
            add("generic", None, w, v)
    for d in (2, 2, 3):
        w, v = [gauss(rng, d) for _ in range(3)], [gauss(rng, d) for _ in range(2)]
        add("generic", None, w, v, gauss(rng, 3), gauss(rng, 2))
    w, v = [gauss(rng, 3, s) for s in (1e-8, 1.0, 1e4)], [gauss(rng, 3), gauss(rng, 3)]
    add("very different norms", None, w, v)
    w = [gauss(rng, 3), [0.0, 0.0, 0.0]]
    add("one zero student", None, w, v)
    add("all students zero", None, [[0.0] * 3] * 2, v)
    add("students opposite to teachers", None, [negated(r) for r in v], v)

    # (ii) near an exact zero, K = M
    small = [1e-2, 1e-4, 1e-6, 1e-8, 1e-9, 1e-10]
    for eps in small:
        for k, d in ((2, 2), (5, 5), (3, 6)):
            add("near zero, orthonormal", eps, perturbed(rng, identity(k, d), eps), identity(k, d))
    for m, d in ((2, 2), (4, 5)):
        v = correlated_teacher(rng, m, d)
        for eps in small:
            add("near zero, correlated", eps, perturbed(rng, v, eps), v)
    v, b = [gauss(rng, 4) for _ in range(3)], gauss(rng, 3)
    for eps in (1e-3, 1e-6, 1e-9):
        add("near zero, signed second layer", eps, perturbed(rng, v, eps), v, b, b)
    add("near zero, orthonormal", 1e-9, perturbed(rng, identity(17), 1e-9), identity(17))

    # (iii) K > M: students c_i v_m with sum c_i = 1
    for eps in (1e-2, 1e-4, 1e-6, 1e-8):
        v = [gauss(rng, 4) for _ in range(2)]
        w = [scaled(v[0], c) for c in (0.25, 0.75)] + [scaled(v[1], c) for c in (0.5, 0.125, 0.375)]
        add("near a split zero", eps, perturbed(rng, w, eps), v)
    for eps in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
        # two students on a teacher in the plane, displaced by +eps and -eps across it
        add(
            "tangential split of one teacher", eps,
            [[0.25, eps], [0.75, -eps]], [[1.0, 0.0]],
        )
        # one of two orthonormal teachers split, in four dimensions
        t = gauss(rng, 3, eps)
        add(
            "tangential split of one of two teachers", eps,
            [[0.5] + t, [0.5] + negated(t), [0.0, 1.0, 0.0, 0.0]], identity(2, 4),
        )
    for eps in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
        # three students on one teacher; the displacements sum to zero
        add(
            "tangential split in three", eps,
            [[0.25, eps, 0.0], [0.25, -2 * eps, eps], [0.5, eps, -eps]], [[1.0, 0.0, 0.0]],
        )

    # (iv) exact zeros
    v = [gauss(rng, 3) for _ in range(3)]
    add("exact zero", None, [v[2], v[0], v[1]], v)
    add("exact zero", None, identity(4), identity(4))
    v2 = [[math.ldexp(round(x * 2**20), -20) for x in r] for r in v[:2]]  # few bits: c v is exact
    w = [scaled(v2[0], c) for c in (0.25, 0.75)] + [scaled(v2[1], c) for c in (0.5, 0.125, 0.375)]
    add("exact zero, split teachers", None, w, v2)
    add("exact zero, one zero student", None, v + [[0.0, 0.0, 0.0]], v)
    add("exact zero, rescaled layers", None, [scaled(r, 0.5) for r in v], v, [2.0] * 3, ones(3))
    add("exact zero, opposite second-layer signs cancel", None, v + [v[0], scaled(v[0], 2.0)], v,
        [1.0, 1.0, 1.0, 2.0, -1.0], ones(3))
    # relu(t) - relu(-t) = t, so reversing every vector of a set that sums to zero
    # leaves sum relu unchanged
    r = [[1.0, 2.0], [-3.0, 0.5], [2.0, -2.5]]
    add("exact zero, reversed teachers that sum to zero", None, [negated(x) for x in r], r)
    return cases


def make_derivatives(rng):
    cases = []

    def add(kind, w, v, a=None, b=None):
        cases.append((kind, w, v, a or ones(len(w)), b or ones(len(v))))

    def rows(n, d):
        return [gauss(rng, d) for _ in range(n)]

    add("generic", rows(1, 2), rows(1, 2))
    add("generic", rows(2, 2), rows(2, 2))
    add("generic", rows(2, 3), rows(3, 3))
    add("generic", rows(3, 4), rows(2, 4))
    add("generic, signed second layer", rows(3, 3), rows(2, 3), gauss(rng, 3), gauss(rng, 2))
    add("generic, signed second layer", rows(2, 4), rows(3, 4), gauss(rng, 2), gauss(rng, 3))
    add("correlated unit teacher", rows(3, 3), correlated_teacher(rng, 3, 3))
    add("correlated unit teacher", rows(2, 4), correlated_teacher(rng, 2, 4))
    v = rows(2, 3)
    add("student parallel to a teacher", [scaled(v[0], 2.0)] + rows(1, 3), v)
    v = rows(2, 2)
    add("student parallel to a teacher", rows(1, 2) + [scaled(v[1], 0.25)], v, gauss(rng, 2), gauss(rng, 2))
    v = rows(2, 3)
    add("student antiparallel to a teacher", [scaled(v[0], -0.5)] + rows(1, 3), v)
    v = rows(2, 2)
    add("student antiparallel to a teacher", [negated(v[1])] + rows(1, 2), v)
    w = rows(2, 3)
    add("two parallel students", w + [scaled(w[0], 0.5)], rows(2, 3))
    w = rows(2, 2)
    add("two antiparallel students", w + [scaled(w[1], -2.0)], rows(1, 2))
    add("orthonormal exact zero", identity(3, 4), identity(3, 4))
    add("near the orthonormal zero", perturbed(rng, identity(2, 3), 1e-6), identity(2, 3))
    w = rows(1, 3)
    add("nearly parallel and antiparallel students",
        w + [perturbed(rng, w, 1e-9)[0], negated(perturbed(rng, w, 1e-9)[0])], rows(1, 3))
    return cases


# ---------------------------------------------------------------------------------
# Verification by other routes


def close(x, y, digits, what, scale=None):
    size = abs(y) if scale is None else scale
    assert abs(x - y) <= mp.mpf(10) ** (-digits) * size, (what, mp.nstr(x, 20), mp.nstr(y, 20))


def arc(kinks, integrand):
    """Integral over the circle of a function smooth between the given angles."""
    two_pi = 2 * mp.pi
    cuts = sorted(k - two_pi * mp.floor(k / two_pi) for k in kinks)
    cuts.append(cuts[0] + two_pi)
    total = mp.mpf(0)
    for lo, hi in zip(cuts, cuts[1:]):
        if hi - lo > mp.mpf(10) ** (-mp.dps + 20):
            total += mp.quad(integrand, [lo, hi], method="gauss-legendre")
    return total


def plane_basis(u, w):
    """Two orthonormal vectors (mpf) whose span contains u and w."""
    u, w = reals(u), reals(w)
    e1 = [x / mp.sqrt(dot(u, u)) for x in u]
    for trial in [w] + [reals(r) for r in identity(len(u))]:
        r = trial
        for _ in range(2):
            c = dot(r, e1)
            r = [x - c * y for x, y in zip(r, e1)]
        n = mp.sqrt(dot(r, r))
        if n > mp.mpf(10) ** (-60) * mp.sqrt(dot(trial, trial)):
            return e1, [x / n for x in r]
    raise AssertionError("no second direction")


def coordinates(v, e):
    return dot(reals(v), e[0]), dot(reals(v), e[1])


def on_circle(c):
    """p -> c . (cos p, sin p)"""
    return lambda p: c[0] * mp.cos(p) + c[1] * mp.sin(p)


def zeros_on_circle(c):
    t = mp.atan2(c[1], c[0])
    return [t - mp.pi / 2, t + mp.pi / 2]


def relu(x):
    return x if x > 0 else mp.mpf(0)


def polar_pair(u, v):
    """E[relu relu] = (E r^2 / 2 pi) int relu relu dp = (1/pi) int ..."""
    e = plane_basis(u, v)
    cu, cv = coordinates(u, e), coordinates(v, e)
    fu, fv = on_circle(cu), on_circle(cv)
    kinks = zeros_on_circle(cu) + zeros_on_circle(cv)
    return arc(kinks, lambda p: relu(fu(p)) * relu(fv(p))) / mp.pi


def polar_triple(u, v, w):
    """The part of v orthogonal to u and w averages to zero; the rest is planar."""
    e = plane_basis(u, w)
    cu, cv, cw = (coordinates(x, e) for x in (u, v, w))
    fu, fv, fw = on_circle(cu), on_circle(cv), on_circle(cw)
    kinks = zeros_on_circle(cu) + zeros_on_circle(cw)
    return arc(kinks, lambda p: (fu(p) > 0) * fv(p) * relu(fw(p))) / mp.pi


def circle_network(w, v, a, b):
    """f - f* on the unit circle (D = 2) and its kinks"""
    rows = [reals(r) for r in w + v if not is_zero(r)]
    coef = [real(c) for c, r in zip(a, w) if not is_zero(r)]
    coef += [-real(c) for c, r in zip(b, v) if not is_zero(r)]
    parts = [on_circle(r) for r in rows]
    kinks = [z for r in rows for z in zeros_on_circle(r)]
    return kinks, lambda p: sum(c * relu(h(p)) for c, h in zip(coef, parts))


def polar_loss(w, v, a, b):
    """D = 2: L = (1/2)(E r^2) mean over the circle of (f - f*)^2.  Nothing cancels."""
    kinks, f = circle_network(w, v, a, b)
    return arc(kinks, lambda p: f(p) ** 2) / (2 * mp.pi)


def polar_gradient(w, v, a, b):
    """D = 2: dL/dw_i = a_i E[(f - f*) H(w_i.x) x]"""
    kinks, f = circle_network(w, v, a, b)
    out = []
    for i in range(len(w)):
        h = on_circle(reals(w[i]))
        out.append([
            real(a[i]) / mp.pi * arc(kinks, lambda p: f(p) * (h(p) > 0) * t(p))
            for t in (mp.cos, mp.sin)
        ])
    return out


def pair_sum_loss(w, v, a, b):
    """Any D: (L) with the pair expectations by quadrature instead of (P)."""
    rows = w + v
    coef = [real(x) for x in a] + [-real(x) for x in b]
    total = mp.mpf(0)
    for i in range(len(rows)):
        for j in range(len(rows)):
            if not is_zero(rows[i]) and not is_zero(rows[j]):
                total += coef[i] * coef[j] * polar_pair(rows[i], rows[j]) / 2
    return total


def differentiated(w, v, a, b, digits):
    """Gradient and Hessian of the scalar L by mp.diff."""
    k, d = len(w), len(w[0])
    n = k * d
    vf = [reals(r) for r in v]

    def f(*flat):
        return loss([list(flat[i * d:(i + 1) * d]) for i in range(k)], vf, a, b)

    with mp.workdps(digits):
        point = tuple(real(x) for r in w for x in r)
        grad, hess = [], [[None] * n for _ in range(n)]
        for p in range(n):
            grad.append(mp.diff(f, point, tuple(int(s == p) for s in range(n))))
            for q in range(p + 1):
                order = [0] * n
                order[p] += 1
                order[q] += 1
                hess[p][q] = hess[q][p] = mp.diff(f, point, tuple(order))
    return grad, hess


def pick(cases, per_kind):
    """The first few cases of every kind."""
    seen = {}
    for case in cases:
        seen[case["kind"]] = seen.get(case["kind"], 0) + 1
        if seen[case["kind"]] <= per_kind:
            yield case


def parsed(s):
    return mp.mpf(s)


def verify(data):
    """Check the printed values against routes that do not use the closed forms."""
    count = {}

    def done(what):
        count[what] = count.get(what, 0) + 1

    # pairs: quadrature in polar coordinates; the angle from |u^ - v^| and |u^ + v^|;
    # the quadrant probability from int_0^inf phi(t) Phi(t cot th) dt
    near = [c for c in data["pairs"] if c["kind"].startswith(("near", "one ulp"))]
    for case in list(pick(data["pairs"], 8)) + near:
        u, v = case["u"], case["v"]
        if case["orthant"] is None:
            assert case["pair"] == "0"
            continue
        uh, vh = unit(reals(u)), unit(reals(v))
        minus = norm([x - y for x, y in zip(uh, vh)])
        both = norm([x + y for x, y in zip(uh, vh)])
        supplement = 2 * mp.atan2(both, minus)  # half-angle form of pi - th
        floor = mp.mpf(10) ** -90  # exact zeros come out of this route as ~1e-130
        close(parsed(case["supplement"]), supplement, 33, case, supplement + floor)
        close(parsed(case["sine"]), minus * both / 2, 33, case, minus * both + floor)
        close(parsed(case["orthant"]), supplement / (2 * mp.pi), 33, case, supplement + floor)
        size = norm(reals(u)) * norm(reals(v))
        value = polar_pair(u, v)
        close(parsed(case["pair"]), value, 33, case, value + size * floor)
        done("pairs by polar quadrature")
    for case in [c for c in data["pairs"] if c["kind"] == "generic"][:4]:
        with mp.workdps(30):
            p = Plane(exact(case["u"]), exact(case["v"]))
            slope = p.dot / p.area
            value = mp.quad(lambda t: mp.npdf(t) * mp.ncdf(t * slope), [0, 1, 2, 4, 8, 16])
            close(parsed(case["orthant"]), value, 18, case)
        done("quadrant probabilities by a Gaussian integral")

    # triples: the same quadrature
    for case in data["triples"]:
        u, v, w = case["u"], case["v"], case["w"]
        if is_zero(w):
            assert case["triple"] == "0"
            continue
        value = polar_triple(u, v, w)
        size = norm(reals(v)) * norm(reals(w))
        close(parsed(case["triple"]), value, 33, case, abs(value) + size * mp.mpf(10) ** -90)
        done("triples by polar quadrature")

    # losses
    for case in data["losses"]:
        w, v, a, b = case["w"], case["v"], case["a"], case["b"]
        value = parsed(case["loss"])
        assert value >= 0
        if is_exact_zero(w, v, a, b):
            assert case["loss"] == "0" and case["kind"].startswith("exact zero"), case
            done("exact zeros decided exactly")
            continue
        assert value > 0 and not case["kind"].startswith("exact zero"), case
        if len(v[0]) == 2:  # the whole of (f - f*)^2 over the circle
            direct = polar_loss(w, v, a, b)
            close(value, direct, 38, case)
            done("losses in two dimensions by direct quadrature")
        if case["kind"].startswith("near zero"):
            # second-order Taylor about W = V with the Hessian there
            ve = exact_rows(v)
            step = [x - y for r, t in zip(exact_rows(w), ve) for x, y in zip(r, t)]
            step = reals(step)
            h = hessian(ve, ve, b, b)
            quad = sum(step[p] * dot(h[p], step) for p in range(len(step))) / 2
            assert abs(value / quad - 1) < 20 * case["eps"], (case, mp.nstr(value / quad, 10))
            done("near-zero losses against the Hessian form")
    chosen = [c for c in pick(data["losses"], 3) if 2 < len(c["v"][0]) < 9 and len(c["w"]) < 6]
    for case in chosen:
        if case["loss"] == "0":
            continue
        value = pair_sum_loss(case["w"], case["v"], case["a"], case["b"])
        close(parsed(case["loss"]), value, 38, case)
        done("losses with pair expectations by quadrature")
    # The cubic law.  Where +-eps delta across v is put on the two students c1 v, c2 v,
    # f - f* lives in a wedge of width ~ eps around v.x = 0 and
    #   L = eps^3 |delta|^3 (1/c1 + 1/c2) / (3 pi |v|) (1 + O(eps)).
    previous = None
    for case in data["losses"]:
        value, eps = parsed(case["loss"]), case["eps"]
        if case["kind"].startswith("tangential split of one"):
            c1, c2 = case["w"][0][0], case["w"][1][0]
            lead = norm(exact(case["w"][0][1:])) ** 3 * (1 / real(c1) + 1 / real(c2)) / (3 * mp.pi)
            assert abs(value / lead - 1) < 20 * eps, (case, mp.nstr(value / lead, 10))
            done("tangential splits against the cubic law")
        if case["kind"] == "tangential split in three":
            if previous is not None:
                assert abs(value / previous * 1000 - 1) < 1000 * eps, case
                done("tangential splits against the cubic law")
            previous = value

    # derivatives: mp.diff of the scalar loss; in two dimensions the gradient also by
    # quadrature.  At aligned pairs the third derivative jumps, so mp.diff still
    # converges, only more slowly in its step.
    for case in data["derivatives"]:
        w, v, a, b = case["w"], case["v"], case["a"], case["b"]
        n = len(w) * len(w[0])
        grad = [parsed(x) for r in case["gradient"] for x in r]
        hess = [[parsed(x) for x in r] for r in case["hessian"]]
        assert all(hess[p][q] == hess[q][p] for p in range(n) for q in range(p))
        digits = 40 if "near" in case["kind"] else 30
        d_grad, d_hess = differentiated(w, v, a, b, digits)
        for p in range(n):
            close(grad[p], d_grad[p], 22, (case["kind"], "gradient", p), 1 + abs(d_grad[p]))
            for q in range(n):
                close(hess[p][q], d_hess[p][q], 22, (case["kind"], p, q), 1 + abs(d_hess[p][q]))
        done("gradients and Hessians by differentiation of L")
        if len(w[0]) == 2:
            for r, s in zip(case["gradient"], polar_gradient(w, v, a, b)):
                for x, y in zip(r, s):
                    close(parsed(x), y, 32, case, 1 + abs(y))
            done("gradients in two dimensions by quadrature")

    # (H2) against its other form, ((pi - th) I + sin th R)/(2 pi)
    rng = random.Random(99)
    for d in (2, 3, 4):
        wi, wj = exact(gauss(rng, d)), exact(gauss(rng, d))
        p, hi, hj = Plane(wi, wj), unit(wi), unit(wj)
        along = unit([x + y for x, y in zip(hi, hj)])
        across_ = unit([x - y for x, y in zip(hi, hj)])
        block = h2(wi, wj)
        for mu in range(d):
            for nu in range(d):
                r = along[mu] * along[nu] - across_[mu] * across_[nu]
                other = (p.supplement * (mu == nu) + p.sine * r) / (2 * mp.pi)
                close(block[mu][nu], other, 100, "H2", mp.mpf(1))
                close(block[mu][nu], block[nu][mu], 100, "H2 symmetry", mp.mpf(1))
        done("mixed second derivatives against the reflection form")

    # spectra: eigenvalues of the closed-form Hessian at W = V = I_k, inside the span
    # (d = k) and with one more dimension
    for k, extra in ((5, 0), (5, 1), (7, 0)):
        with mp.workdps(50):
            t = exact_rows(identity(k, k + extra))
            h = hessian(t, t, ones(k), ones(k))
            found = sorted(mp.eigsy(mp.matrix(h), eigvals_only=True))
        entry = next(s for s in data["global_minimum_spectra"] if s["k"] == k)
        families = entry["within"] + entry["transverse"] * extra
        listed = sorted(parsed(f["eigenvalue"]) for f in families for _ in range(f["multiplicity"]))
        assert len(found) == len(listed) == k * (k + extra)
        for x, y in zip(listed, found):
            close(x, y, 34, ("spectrum", k))
        done("spectra by numerical diagonalisation")
    # for every k, the first two power sums of the eigenvalues:
    # tr H = k^2/2, tr H^2 = k^2/4 + k(k-1) |I/4 + c(e_i e_j^T + e_j e_i^T)|^2
    for entry in data["global_minimum_spectra"]:
        k, c = entry["k"], 1 / (2 * mp.pi)
        listed = [parsed(f["eigenvalue"]) for f in entry["within"] for _ in range(f["multiplicity"])]
        assert len(listed) == k * k
        close(sum(listed), mp.mpf(k * k) / 2, 32, "trace")
        off = mp.mpf(k) / 16 + 2 * c * c
        close(sum(x * x for x in listed), mp.mpf(k * k) / 4 + k * (k - 1) * off, 32, "tr H^2")
        done("spectra by traces")
    return count


# ---------------------------------------------------------------------------------
# Output


def text(x, digits=DIGITS):
    """Decimal string; what is zero up to the working precision is exactly "0"."""
    size = abs(x)
    if size < mp.mpf(10) ** -100:
        return "0"
    assert size > mp.mpf(10) ** -75, "neither zero nor resolved: " + mp.nstr(x, 10)
    return mp.nstr(x, digits, strip_zeros=False)


def build():
    data = {"pairs": [], "triples": [], "losses": [], "derivatives": [], "global_minimum_spectra": []}
    for kind, u, v in make_pairs(random.Random(1)):
        case = {"kind": kind, "u": u, "v": v, "pair": text(pair(exact(u), exact(v)))}
        if is_zero(u) or is_zero(v):
            case.update(orthant=None, sine=None, supplement=None)
        else:
            p = Plane(exact(u), exact(v))
            case["orthant"] = text(p.supplement / (2 * mp.pi))
            case["sine"] = text(p.sine)
            case["supplement"] = text(p.supplement)
        data["pairs"].append(case)
    for kind, u, v, w in make_triples(random.Random(2)):
        value = triple(exact(u), exact(v), exact(w))
        data["triples"].append({"kind": kind, "u": u, "v": v, "w": w, "triple": text(value)})
    for kind, eps, w, v, a, b in make_losses(random.Random(3)):
        value = loss(exact_rows(w), exact_rows(v), a, b)
        case = {"kind": kind, "eps": eps, "w": w, "v": v, "a": a, "b": b}
        case["loss"] = text(value, LOSS_DIGITS)
        data["losses"].append(case)
    for kind, w, v, a, b in make_derivatives(random.Random(4)):
        we, ve = exact_rows(w), exact_rows(v)
        case = {"kind": kind, "w": w, "v": v, "a": a, "b": b}
        case["gradient"] = [[text(x) for x in r] for r in gradient(we, ve, a, b)]
        case["hessian"] = [[text(x) for x in r] for r in hessian(we, ve, a, b)]
        data["derivatives"].append(case)
    for k in (5, 7, 10, 33):
        entry = {"k": k}
        for name, families in zip(("within", "transverse"), spectrum(k)):
            entry[name] = [{"eigenvalue": text(x), "multiplicity": n} for x, n in families]
        data["global_minimum_spectra"].append(entry)
    return data


def dump(data):
    """One case per line."""
    parts = []
    for name, cases in data.items():
        lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
        parts.append(json.dumps(name) + ":[\n" + lines + "\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main():
    start = time.time()
    # verify what a reader of the file gets: the doubles and strings after a round trip
    out = dump(build())
    data = json.loads(out)
    for what, n in verify(data).items():
        print(f"{n:4d} {what}")
    with open(os.path.join(HERE, "relu.json"), "w", encoding="ascii", newline="\n") as f:
        f.write(out)
    sizes = ", ".join(f"{len(c)} {name}" for name, c in data.items())
    print(f"relu.json: {sizes}; {len(out)} bytes; {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
