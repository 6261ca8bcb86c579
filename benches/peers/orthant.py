#!/usr/bin/env python3
"""Orthant probabilities of four Gaussian fields: error against time for SciPy, for NumPy and for committee.

The matrices are regular ones of tests/reference/orthant.json: `random` (Gram matrices of random vectors) and `strong`
(correlations up to 0.9995). Errors are against its 35-digit values.
See README.md for what is compared.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# Pairs ab, ac, ad, bc, bd, cd; the pair opposite to p is 5 - p. For the pair ij and its opposite kl: ik, jl, il, jk,
# and the triples ijk, ijl.
PAIRS = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
TRIPLES = [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)]


def place(i, j):
    return PAIRS.index((min(i, j), max(i, j)))


ROLES = [(i, j, *[k for k in range(4) if k not in (i, j)]) for i, j in PAIRS]
IK, JL, IL, JK = np.array([[place(i, k), place(j, l), place(i, l), place(j, k)] for i, j, k, l in ROLES]).T
IJK, IJL = np.array([[TRIPLES.index(tuple(sorted((i, j, m)))) for m in (k, l)] for i, j, k, l in ROLES]).T
SIDES = np.array([[place(i, j), place(i, k), place(j, k)] for i, j, k in TRIPLES]).T
# Positions of 12, 13, 14, 23, 24, 34 when the pair moved is p.
PLACES = np.array([[place(x, y) for x, y in ((i, j), (i, k), (i, l), (j, k), (j, l), (k, l))] for i, j, k, l in ROLES])
FLIP = np.array([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0])


def unit_rule(n):
    x, w = np.polynomial.legendre.leggauss(n)
    return 0.5 * (1.0 + x), 0.5 * w


# ---------------------------------------------------------------------------------
# All six correlations grow together from 0 (Childs 1967).


def childs(r, rule):
    """P4 from the six correlations, the last axis of r; the leading axes are a batch"""
    x, w = rule
    t = r[..., None] * x
    square = t * t
    u, v, y = SIDES
    det = 1.0 - square[..., u, :] - square[..., v, :] - square[..., y, :]
    det += 2.0 * t[..., u, :] * t[..., v, :] * t[..., y, :]
    ik, jl, il, jk = t[..., IK, :], t[..., JL, :], t[..., IL, :], t[..., JK, :]
    rest = 1.0 - square
    partial = t[..., ::-1, :] * rest - ik * il - jk * jl + t * (ik * jl + il * jk)
    angle = np.arcsin(np.clip(partial / np.sqrt(det[..., IJK, :] * det[..., IJL, :]), -1.0, 1.0))
    integral = np.einsum("...p,...pn,n->...", r, angle / np.sqrt(rest), w, optimize=False)
    return 1 / 16 + np.arcsin(r).sum(axis=-1) / (8 * math.pi) + integral / (4 * math.pi**2)


# ---------------------------------------------------------------------------------
# One pair moved from a singular end (theory 02, section 6): our path, for regular matrices.


def path_rule(n):
    """t = tau sinh x as shares of the end, x in [0, X]: X and n belong together (theory 02, eq. 02-ellipse)"""
    x, w = unit_rule(n)
    length = math.pi / math.sinh(16.5 / n)
    return np.sinh(length * x) / math.sinh(length), w * length * np.cosh(length * x) / math.sinh(length)


def path_batch(r, rule):
    """P4 of a batch, r of shape (matrices, 6)"""
    every = np.arange(len(r))
    r12, r13, r14, r23, r24, r34 = (r[:, PLACES[:, p]] for p in range(6))
    s = np.sqrt((1.0 - r) * (1.0 + r))
    s13, s14, s23, s24, s34 = (s[:, PLACES[:, p]] for p in range(1, 6))
    y1, y2 = (r14 - r13 * r34) / s34, (r24 - r23 * r34) / s34
    half = np.sqrt((s13 * s13 - y1 * y1) * (s23 * s23 - y2 * y2))
    centre = r13 * r23 + y1 * y2
    below = np.maximum(r13 * r23 - s13 * s23, r14 * r24 - s14 * s24)
    above = np.minimum(r13 * r23 + s13 * s23, r14 * r24 + s14 * s24)
    least, most = centre - half, centre + half
    tiny = 1e-300
    low = (least - below) * (most - r12) / np.maximum((most - below) * (r12 - least), tiny)
    high = (above - most) * (r12 - least) / np.maximum((above - least) * (most - r12), tiny)
    quality = np.concatenate((low, high), axis=1)
    chosen = quality.argmax(axis=1)
    pair, reverse = chosen % 6, chosen >= 6
    f = r[every[:, None], PLACES[pair]]
    f = np.where(reverse[:, None], FLIP * f, f)
    angle = np.arccos(-f)
    r12, r13, r14, r23, r24, r34 = f.T
    s34 = s34[every, pair]
    half = half[every, pair]
    y1, y2 = (r14 - r13 * r34) / s34, (r24 - r23 * r34) / s34
    h1, h2 = (r13 - r14 * r34) / s34, (r23 - r24 * r34) / s34
    s1, s2 = np.sqrt(1.0 - r13 * r13 - y1 * y1), np.sqrt(1.0 - r23 * r23 - y2 * y2)
    least = r13 * r23 + y1 * y2 - half
    # P4 where the four are dependent, by the signs of fields 3 and 4 in the relation.
    a3, a4 = angle[:, 1] + angle[:, 3], angle[:, 2] + angle[:, 4]
    first = np.arccos(-np.clip(least, -1.0, 1.0))
    third, fourth = s2 * h1 + s1 * h2 > 0, s2 * y1 + s1 * y2 > 0
    both, either = a3 + a4 - 2 * math.pi, first - math.pi + np.where(third, a4, a3)
    start = np.where(third & fourth, both, np.where(third | fourth, either, 0.0)) / (4 * math.pi)
    share = (r12 - least) / (2.0 * half)
    end = np.sqrt(share / (1.0 - share))
    x, w = rule
    columns = [z[:, None] for z in (least, half, r34, s34, s1, s2, y1, y2, h1, h2)]
    value = start + end * (integrand(end[:, None] * x, *columns) @ w)
    three = (angle[:, 3:].sum(axis=1) - math.pi) / (4 * math.pi)
    return np.where(reverse, three - value, value)


def path_arrays(r, rule):
    """P4 of one matrix, in NumPy throughout"""
    return path_batch(r[None], rule)[0]


def integrand(t, least, half, r34, s34, s1, s2, y1, y2, h1, h2):
    square = t * t
    whole = 1.0 + square
    low, high = 1.0 + least, 1.0 - least
    root = np.sqrt((low + (low + 2.0 * half) * square) * (high + (high - 2.0 * half) * square))
    along = (s2 * h1 + s1 * h2 + (s2 * h1 - s1 * h2) * square) * (s2 * y1 + s1 * y2 + (s2 * y1 - s1 * y2) * square)
    along += 4.0 * (s1 * s1 * h2 * y2 - r34 * half * half) * square
    return half / math.pi**2 * t / (whole * root) * np.arctan2((2.0 * s34 * half) * t * root, along)


def path_one(r, rule):
    """P4 of one matrix, r a tuple of six floats: plain Python up to the nodes, which are one array"""
    sqrt = math.sqrt
    s = [sqrt((1.0 - x) * (1.0 + x)) for x in r]
    best = -1.0
    for p12, p13, p14, p23, p24, p34 in PLACES_LIST:
        r12, r13, r14, r23, r24, r34 = r[p12], r[p13], r[p14], r[p23], r[p24], r[p34]
        s13, s14, s23, s24, s34 = s[p13], s[p14], s[p23], s[p24], s[p34]
        y1, y2 = (r14 - r13 * r34) / s34, (r24 - r23 * r34) / s34
        half = sqrt((s13 * s13 - y1 * y1) * (s23 * s23 - y2 * y2))
        centre = r13 * r23 + y1 * y2
        below = max(r13 * r23 - s13 * s23, r14 * r24 - s14 * s24)
        above = min(r13 * r23 + s13 * s23, r14 * r24 + s14 * s24)
        least, most = centre - half, centre + half
        low = (least - below) * (most - r12) / max((most - below) * (r12 - least), 1e-300)
        high = (above - most) * (r12 - least) / max((above - least) * (most - r12), 1e-300)
        if low > best or high > best:
            best, sign = (low, 1.0) if low >= high else (high, -1.0)
            chosen = (sign * r12, sign * r13, sign * r14, r23, r24, r34, s34, half)
    r12, r13, r14, r23, r24, r34, s34, half = chosen
    acos = math.acos
    y1, y2 = (r14 - r13 * r34) / s34, (r24 - r23 * r34) / s34
    h1, h2 = (r13 - r14 * r34) / s34, (r23 - r24 * r34) / s34
    s1, s2 = sqrt(1.0 - r13 * r13 - y1 * y1), sqrt(1.0 - r23 * r23 - y2 * y2)
    least = r13 * r23 + y1 * y2 - half
    third, fourth = s2 * h1 + s1 * h2 > 0, s2 * y1 + s1 * y2 > 0
    start = 0.0
    if third and fourth:
        start = acos(-r13) + acos(-r23) + acos(-r14) + acos(-r24) - 2 * math.pi
    elif third or fourth:
        start = acos(-max(least, -1.0)) - math.pi + (acos(-r14) + acos(-r24) if third else acos(-r13) + acos(-r23))
    share = (r12 - least) / (2.0 * half)
    end = sqrt(share / (1.0 - share))
    x, w = rule
    total = np.dot(integrand(end * x, least, half, r34, s34, s1, s2, y1, y2, h1, h2), w)
    value = start / (4 * math.pi) + end * float(total)
    if sign > 0.0:
        return value
    return (acos(-r23) + acos(-r24) + acos(-r34) - math.pi) / (4 * math.pi) - value


PLACES_LIST = [tuple(int(p) for p in line) for line in PLACES]


# ---------------------------------------------------------------------------------
# Measuring.


def load_cases():
    """{set: (correlations of shape (cases, 6), values)}"""
    table = json.loads((ROOT / "tests/reference/orthant.json").read_text(encoding="utf-8"))
    sets = {"random": [], "strong": []}
    for case in table["cases"]:
        name = case["name"].split(",")[0].split(" ")[0]
        if case["class"] != "regular" or name not in sets:
            continue
        g = np.zeros((4, 4))
        g[np.triu_indices(4)] = case["gram"]
        root = np.sqrt(np.diag(g))
        line = ([g[i, j] / (root[i] * root[j]) for i, j in PAIRS], float(case["p4"]))
        sets[name].append(line)
    return {name: (np.array([r for r, _ in lines]), np.array([p for _, p in lines])) for name, lines in sets.items()}


def matrix(r):
    full = np.eye(4)
    for (i, j), x in zip(PAIRS, r):
        full[i, j] = full[j, i] = x
    return full


def clock(call, seconds):
    """seconds per call, calls repeated for at least so long"""
    count, begin = 0, time.perf_counter()
    while True:
        call()
        count += 1
        taken = time.perf_counter() - begin
        if taken >= seconds:
            return taken / count


def in_chunks(function, r, chunk, rule):
    return np.concatenate([function(r[i : i + chunk], rule) for i in range(0, len(r), chunk)])


def numpy_line(method, name, r, expected, nodes, options):
    rule = (path_rule if method.startswith("path") else unit_rule)(nodes)
    if not method.endswith("batch"):
        function = {"path, one": path_one, "path, one, arrays": path_arrays, "Childs, one": childs}[method]
        inputs = [tuple(map(float, x)) for x in r] if function is path_one else list(r)
        found = np.array([function(x, rule) for x in inputs])
        seconds = clock(lambda: [function(x, rule) for x in inputs], options.seconds) / len(r)
    else:
        function = path_batch if method.startswith("path") else childs
        batch = np.tile(r, (-(-options.batch // len(r)), 1))[: options.batch]
        found = function(r, rule)
        seconds = min(
            clock(lambda: in_chunks(function, batch, chunk, rule), options.seconds / 3) / len(batch)
            for chunk in (32, 128, options.batch)
        )
    return record(f"NumPy {method}", name, nodes, seconds, np.abs(found - expected))


def scipy_line(name, r, expected, tolerance, options):
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(options.seed)
    count = min(len(r), options.scipy_cases)
    chosen = np.linspace(0, len(r) - 1, count).astype(int)
    errors, begin = [], time.perf_counter()
    for i in chosen:
        arguments = {"maxpts": options.maxpts, "abseps": tolerance, "releps": tolerance}
        if options.fortran:
            found = multivariate_normal.cdf(np.zeros(4), cov=matrix(r[i]), **arguments)
        else:
            found = multivariate_normal.cdf(np.zeros(4), cov=matrix(r[i]), rng=rng, **arguments)
        errors.append(abs(found - expected[i]))
    return record("SciPy", name, tolerance, (time.perf_counter() - begin) / count, np.array(errors))


def record(program, name, setting, seconds, errors):
    return {
        "program": program,
        "matrices": name,
        "setting": setting,
        "microseconds": 1e6 * seconds,
        "median_error": float(np.median(errors)),
        "largest_error": float(errors.max()),
    }


def build():
    """path of the compiled benches/averages.rs"""
    command = ["cargo", "bench", "--bench", "averages", "--no-run", "--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    for line in done.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("target", {}).get("name") == "averages" and message.get("executable"):
            return message["executable"]
    sys.exit("cargo built no bench `averages`")


UNITS = {"ns": 1e-3, "µs": 1.0, "us": 1.0, "ms": 1e3, "s": 1e6}


def ours(executable, pattern, seconds):
    """{title: microseconds} of the benches whose title matches, and the errors they print"""
    words = [executable, "--bench", pattern, "--warm-up-time", "0.1", "--sample-size", "10"]
    words += ["--measurement-time", str(seconds)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    times, title = {}, None
    for line in done.stdout.splitlines():
        found = re.search(r"time:\s+\[\S+ \S+ (\S+) (\S+) ", line)
        before = line.split("time:")[0].strip()
        title = before or title
        if found:
            times[title] = float(found[1]) * UNITS[found[2]]
    errors = {}
    for line in done.stdout.splitlines():
        found = re.match(r"errors of P4, (\w+): median (\S+), largest (\S+)", line)
        if found:
            errors[found[1]] = (float(found[2]), float(found[3]))
    return times, errors


# Sets of four among 34 units with two students or more: what the error moments of K = M = 17 evaluate in blocks of eight.
SETS = math.comb(34, 4) - math.comb(17, 4) - 17 * math.comb(17, 3)
BLOCK = "committee, in blocks"


def our_lines(executable, seconds):
    times, errors = ours(executable, "^(P4|I4|error moments K = M = 17)", seconds)
    lines = []
    for title, microseconds in times.items():
        name = "strong" if "strong" in title else "random"
        median, largest = errors[name]
        program = "committee, " + title.split(",")[0].removesuffix("s")
        if title.startswith(("P4", "I4")):
            microseconds /= int(title.split(", ")[1].split(" ")[0])
        if title.startswith("error moments"):
            if "random start" not in title:
                continue
            program, name, microseconds, median, largest = BLOCK, "start", microseconds / SETS, math.nan, math.nan
        lines.append(
            {
                "program": program,
                "matrices": name,
                "setting": "",
                "microseconds": microseconds,
                "median_error": median,
                "largest_error": largest,
            }
        )
    return lines


def check(sets):
    """the peers compute what they should"""
    for name, (r, expected) in sets.items():
        for label, found in (
            ("path, batch", path_batch(r, path_rule(24))),
            ("path, one", np.array([path_one(tuple(map(float, x)), path_rule(24)) for x in r])),
            ("Childs, batch", childs(r, unit_rule(256))),
        ):
            error = np.abs(found - expected)
            print(f"{name}, {label}: median {np.median(error):.1e}, largest {error.max():.1e}")
            assert np.median(error) < 1e-15 and error.max() < 1e-6, label


def cheapest(lines, program, name, bound):
    """the fastest setting whose largest error is within the bound"""
    good = [x for x in lines if x["program"] == program and x["matrices"] == name and x["largest_error"] <= bound]
    return min(good, key=lambda x: x["microseconds"]) if good else None


def summary(lines, bound):
    block = next((x for x in lines if x["program"] == BLOCK), None)
    for name in ("random", "strong"):
        many = next((x for x in lines if x["program"] == "committee, P4 many at once" and x["matrices"] == name), None)
        unit = next((x for x in lines if x["program"] == "committee, P4 from covariance" and x["matrices"] == name), None)
        if unit is None:
            continue
        print(f"\n{name} matrices, times as long as committee (one call: {unit['microseconds']:.3f} microseconds", end="")
        print(f"; many at once: {many['microseconds']:.3f}" if many else "", end="")
        print(f"; in blocks, six averages each: {block['microseconds']:.3f}):" if block else "):")
        chosen = [cheapest(lines, f"NumPy {way}", name, bound) for way in WAYS]
        chosen += [x for x in lines if x["program"] == "SciPy" and x["matrices"] == name]
        for line in filter(None, chosen):
            setting = f"{line['setting']:.0e}" if line["program"] == "SciPy" else f"{line['setting']} nodes"
            words = f"  {line['program']}, {setting}, largest error {line['largest_error']:.0e}:"
            print(f"{words:62}{line['microseconds'] / unit['microseconds']:12.1f}", end="")
            print(f"{line['microseconds'] / many['microseconds']:12.1f}" if many else "", end="")
            print(f"{line['microseconds'] / block['microseconds']:12.1f}" if block else "")


WAYS = {
    "path, one": (6, 8, 10, 12, 14, 16, 24),
    "path, one, arrays": (14, 16),
    "path, batch": (6, 8, 10, 12, 14, 16, 24),
    "Childs, one": (8, 16, 32, 48, 64, 96, 128),
    "Childs, batch": (8, 16, 32, 48, 64, 96, 128),
}


def plot(lines, file):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    for program in dict.fromkeys(x["program"] for x in lines):
        chosen = [x for x in lines if x["program"] == program and x["matrices"] == "random"]
        shown = ("committee, P4 from covariance", "committee, P4 many at once")
        if not chosen or (program.startswith("committee") and program not in shown):
            continue
        style = "s" if program in shown else "o-"
        label = {shown[0]: "committee, one call", shown[1]: "committee, many at once"}.get(program, program)
        pyplot.loglog(*zip(*[(x["microseconds"], max(x["largest_error"], 1e-17)) for x in chosen]), style, label=label)
    pyplot.xlabel("time per P4 (microseconds)")
    pyplot.ylabel("largest error, random matrices")
    pyplot.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    pyplot.savefig(file, dpi=150, bbox_inches="tight")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="alternating rounds; the smallest time of each counts")
    parser.add_argument("--seconds", type=float, default=0.3, help="time of one measurement")
    parser.add_argument("--batch", type=int, default=1000, help="matrices in one NumPy batch")
    parser.add_argument("--scipy-cases", type=int, default=8, help="matrices given to SciPy, per set and tolerance")
    parser.add_argument("--tolerances", type=float, nargs="*", default=(1e-4, 1e-5, 1e-6, 1e-7, 1e-8))
    parser.add_argument("--maxpts", type=int, default=2_000_000_000)
    parser.add_argument("--bound", type=float, default=1e-12, help="largest error the compared NumPy setting may have")
    programs = ("committee", "numpy", "scipy")
    parser.add_argument("--only", nargs="+", choices=programs, default=programs)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--csv", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", help="a picture; needs matplotlib")
    parser.add_argument("--check", action="store_true", help="only compare the NumPy programs with the references")
    return parser.parse_args()


def main():
    options = arguments()
    sets = load_cases()
    if options.check:
        return check(sets)
    load = os.getloadavg()[0]
    if load > 0.3:
        print(f"warning: load average {load:.2f}; times are only meaningful on an idle machine", file=sys.stderr)
    options.fortran = False
    if "scipy" in options.only:
        import inspect

        import scipy
        from scipy.stats import multivariate_normal

        # Before version 1.16 the method was Genz's Fortran program, which takes no random state.
        options.fortran = "rng" not in inspect.signature(multivariate_normal.cdf).parameters
        print(f"SciPy {scipy.__version__}, NumPy {np.__version__}", file=sys.stderr)
    executable = build() if "committee" in options.only else None
    best = {}
    for round_ in range(options.repeats):
        # As many measurements as NumPy's path has with enough nodes.
        lines = [line for _ in range(3) for line in our_lines(executable, options.seconds)] if executable else []
        for name, (r, expected) in sets.items():
            if "numpy" in options.only:
                for way, settings in WAYS.items():
                    lines += [numpy_line(way, name, r, expected, nodes, options) for nodes in settings]
            if "scipy" in options.only:
                lines += [scipy_line(name, r, expected, tolerance, options) for tolerance in options.tolerances]
        for line in lines:
            key = (line["program"], line["matrices"], line["setting"])
            if key not in best or line["microseconds"] < best[key]["microseconds"]:
                best[key] = line
        print(f"round {round_ + 1} of {options.repeats}", file=sys.stderr, flush=True)
    lines = list(best.values())
    print(f"{'program':34}{'matrices':>9}{'setting':>9}{'microseconds':>15}{'median error':>14}{'largest error':>15}")
    for x in lines:
        setting = x["setting"] if isinstance(x["setting"], (int, str)) else f"{x['setting']:.0e}"
        print(f"{x['program']:34}{x['matrices']:>9}{setting:>9}{x['microseconds']:15.3f}", end="")
        print(f"{x['median_error']:14.1e}{x['largest_error']:15.1e}")
    summary(lines, options.bound)
    if options.csv:
        with open(options.csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    if options.plot:
        plot(lines, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
