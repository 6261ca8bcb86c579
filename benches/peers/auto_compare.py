#!/usr/bin/env python3
"""Follows two families of critical points in real M with AUTO-07p, checks it with mpmath, and compares our own branch.

The equations are in auto/families.f90. The check in mpmath uses the reduced loss alone: its gradient and Hessian are
central differences at 50 digits. See README.md for what is compared.
"""

import argparse
import csv
import glob
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib

import mpmath
from mpmath import mp, mpf

HERE = pathlib.Path(__file__).resolve().parent
ENTRIES = ("a1", "b1", "c12", "a2", "b2", "c21")
# Critical points at M = 17 to about six digits; Newton's method does the rest.
START_M = 17
START = {
    1: dict(a1="-0.786514", b1="0", c12="0.074537", a2="1.003641", b2="-0.005124", c21="0.108916"),
    2: dict(a1="-0.801233", b1="0.094432", c12="0.076266", a2="1.005323", b2="-0.011104", c21="0.111092"),
}
TABLE = (6, 8, 12, 17, 20, 50, 100)
# For the symmetric branch, and for branch points: near one, a Newton step of AUTO is at least the rounding error over
# the smallest eigenvalue; at 1e-9 AUTO misses all three known ones, at 1e-8 two of them.
TIGHT = "EPSL = 1e-12, EPSU = 1e-12, EPSS = 1e-11"
LOOSE = "EPSL = 1e-7, EPSU = 1e-7, EPSS = 1e-7"
KINDS = {1: "BP", 2: "LP", 4: "UZ", -4: "UZ", 9: "EP", -9: "MX"}
SPLIT = ("", "one unflipped student leaves its block", "one flipped student leaves its block")
BAR = 1e-6
mp.dps = 50
STEP = mpf(10) ** -16  # of the central differences: errors 1e-32 in the gradient, 1e-18 in the Hessian


# ---------------------------------------------------------------------------------
# Blocks: what U lists, and a symmetric state written with more blocks.


def layout(k1, split):
    """For each block: is it flipped, has it one student. Split as in families.f90."""
    one = (k1 - (split == 2)) == 1
    blocks = [(True, one), (False, False)]
    return blocks + ([] if split == 0 else [(split == 2, True)])


def lift(k1, split, entries):
    """U of the split problem from the six entries of the symmetric state"""
    blocks, values = layout(k1, split), []
    for s, (flipped, one) in enumerate(blocks):
        values.append(entries["a1" if flipped else "a2"])
        if not one:
            values.append(entries["b1" if flipped else "b2"])
        for t, (other, _) in enumerate(blocks):
            if t != s:
                same = "b1" if flipped else "b2"
                values.append(entries[same if other == flipped else "c12" if flipped else "c21"])
    return values


def name(k1, values):
    """The six entries from U of the symmetric problem"""
    values = list(values)
    if k1 == 1:
        values.insert(1, mpf(0))
    return dict(zip(ENTRIES, values))


# ---------------------------------------------------------------------------------
# The reduced loss, and Newton's method on it.


def loss(k1, split, m, values):
    blocks, values = layout(k1, split), iter(values)
    n = [mpf(k1 - (split == 2)), m - k1 - (split == 1), mpf(1)][: len(blocks)]
    every = range(len(blocks))
    own, c = [], [[mpf(0) for _ in every] for _ in every]
    for s in every:
        own.append(next(values))
        if not blocks[s][1]:
            c[s][s] = next(values)
        for t in every:
            if t != s:
                c[s][t] = next(values)

    def pair(length, q):
        """2 pi E[relu relu] from |u||v| and u.v"""
        cosine = q / length
        return mpmath.sqrt(length**2 - q**2) + (mp.pi - mpmath.acos(cosine)) * q

    def others(s, t):
        return n[t] - (s == t)

    norm = [mpmath.sqrt(own[s] ** 2 + sum(others(s, t) * c[s][t] ** 2 for t in every)) for s in every]
    total = m * (mp.pi + m - 1) / 2
    for s in every:
        line = mp.pi * norm[s] ** 2 / 2 - pair(norm[s], own[s])
        for t in every:
            if others(s, t) == 0:
                continue
            # Student i of s, student j of t: both know the teacher of i, the teacher of j, and the rest.
            rest = sum((n[r] - (r == s) - (r == t)) * c[s][r] * c[t][r] for r in every)
            q = own[s] * c[t][s] + c[s][t] * own[t] + rest
            line += others(s, t) * (pair(norm[s] * norm[t], q) / 2 - pair(norm[s], c[s][t]))
        total += n[s] * line
    return total / (2 * mp.pi)


def moved(values, *steps):
    values = list(values)
    for i, sign in steps:
        values[i] += sign * STEP
    return values


def gradient(k1, split, m, u):
    return [
        (loss(k1, split, m, moved(u, (i, 1))) - loss(k1, split, m, moved(u, (i, -1)))) / (2 * STEP)
        for i in range(len(u))
    ]


def hessian(k1, split, m, u):
    size = len(u)
    h = mpmath.matrix(size, size)
    for i in range(size):
        for j in range(i + 1):
            a, b, c, d = (loss(k1, split, m, moved(u, (i, x), (j, y))) for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)))
            h[i, j] = h[j, i] = (a - b - c + d) / (4 * STEP**2)
    return h


def newton(k1, m, u):
    """The critical point of the symmetric problem near u"""
    for _ in range(20):
        step = mpmath.lu_solve(hessian(k1, 0, m, u), mpmath.matrix(gradient(k1, 0, m, u)))
        u = [x - y for x, y in zip(u, step)]
        if mpmath.norm(step) < mpf(10) ** -16:
            return u
    sys.exit(f"k1 = {k1}, M = {float(m)}: Newton's method does not converge")


def polish_fold(k1, m, u):
    """(u, M, v) with zero gradient, H v = 0 and v of fixed product with its first guess"""
    h = hessian(k1, 0, m, u)
    values, vectors = mpmath.eigsy(h)
    v = list(vectors[:, min(range(len(u)), key=lambda i: abs(values[i]))])
    guess, size = list(v), len(u)

    def system(*x):
        u, m, v = list(x[:size]), x[size], mpmath.matrix(x[size + 1 :])
        product = sum(a * b for a, b in zip(guess, v)) - 1
        return [*gradient(k1, 0, m, u), *(hessian(k1, 0, m, u) * v), product]

    # The system is exact to 1e-18 only, so its Jacobian takes a wider step than mpmath's own.
    x = [*u, m, *v]
    for _ in range(8):
        wide, here, columns = mpf(10) ** -8, system(*x), []
        for i in range(len(x)):
            there = system(*(y + wide * (i == j) for j, y in enumerate(x)))
            columns.append([(b - a) / wide for a, b in zip(here, there)])
        step = mpmath.lu_solve(mpmath.matrix(columns).T, mpmath.matrix(here))
        x = [a - b for a, b in zip(x, step)]
        if mpmath.norm(step) < mpf(10) ** -13:
            break
    return x[size]


def polish_branch_point(k1, split, m, entries):
    """The M at which the Hessian of the split problem is singular and that of the symmetric one is not"""
    u = [entries[e] for e in ENTRIES if k1 > 1 or e != "b1"]

    def ratio(m):
        nonlocal u
        u = newton(k1, m, u)
        return mpmath.det(hessian(k1, split, m, lift(k1, split, name(k1, u)))) / mpmath.det(hessian(k1, 0, m, u))

    a, b = m, m + mpf(10) ** -5
    fa, fb = ratio(a), ratio(b)
    for _ in range(10):
        a, b, fa = b, b - fb * (b - a) / (fb - fa), fb
        if abs(b - a) < mpf(10) ** -14:
            break
        fb = ratio(b)
    return b


# ---------------------------------------------------------------------------------
# AUTO.


def build(options, directory):
    objects = sorted(glob.glob(os.path.join(options.auto, "lib", "*.o")))
    if not objects:
        sys.exit(f"no AUTO-07p objects in {options.auto}/lib: install it, or pass --auto DIRECTORY")
    program = os.path.join(directory, "families")
    command = ["gfortran", "-O3", "-march=native", "-fopenmp", "-J", directory]
    subprocess.run([*command, str(HERE / "auto" / "families.f90"), *objects, "-o", program], check=True)
    return program


def constants(k1, split, m, values, ds, dsmax, tolerances, stops, users=()):
    listed = ", ".join(f"{i + 1}: {mpmath.nstr(value, 17)}" for i, value in enumerate(values))
    lines = [
        (HERE / "auto" / "c.families").read_text(encoding="utf-8").rstrip("\n"),
        f"NDIM = {len(values)}",
        f"U = {{{listed}}}",
        f"PAR = {{1: {float(m)!r}, 2: {float(k1)!r}, 4: {float(split)!r}}}",
        f"DS = {ds!r}, DSMAX = {dsmax!r}",
        tolerances,
        f"UZSTOP = {{1: [{', '.join(repr(float(x)) for x in stops)}]}}",
    ]
    if users:
        lines.append(f"UZR = {{1: [{', '.join(repr(float(x)) for x in users)}]}}")
    return "\n".join(lines) + "\n"


def run(program, directory, text):
    """Wall time of one run. AUTO can retry without end at a branch point: a run has a minute."""
    pathlib.Path(directory, "fort.2").write_text(text, encoding="utf-8")
    with open(os.path.join(directory, "fort.2"), encoding="utf-8") as source:
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        begin = time.perf_counter()
        done = subprocess.run(
            [program], cwd=directory, stdin=source, capture_output=True, text=True, env=environment, timeout=60
        )
        seconds = time.perf_counter() - begin
    if done.returncode != 0:
        sys.exit(f"AUTO failed with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def steps(directory):
    """Continuation steps: points in fort.7 less the first one. A line begins with the branch, 0 for headers."""
    lines = pathlib.Path(directory, "fort.7").read_text(encoding="utf-8").splitlines()
    return sum(line.split()[:1] not in ([], ["0"]) for line in lines) - 1


def labelled(directory):
    """Labelled points of fort.8: kind, M, loss and U"""
    tokens = [line.split() for line in pathlib.Path(directory, "fort.8").read_text(encoding="utf-8").splitlines()]
    points, at = [], 0
    while at < len(tokens):
        head = [int(word) for word in tokens[at]]
        width, length = head[7], head[8]
        body = [word for line in tokens[at + 1 : at + 1 + length] for word in line]
        # t and U; then the parameters' indices, their tangent, the tangent of U, PAR.
        u = [number(word) for word in body[1:width]]
        parameters = [number(word) for word in body[-head[11] :]]
        points.append(dict(kind=KINDS.get(head[2], str(head[2])), M=parameters[0], loss=parameters[2], u=u))
        at += 1 + length
    return points


def number(word):
    """Fortran leaves the E out of exponents of three digits."""
    try:
        return float(word)
    except ValueError:
        return float("nan") if "N" in word.upper() else float(word[:-4] + "E" + word[-4:])


class Family:
    """One branch, from M = 17 down and up"""

    def __init__(self, k1, options, program, directory):
        self.k1, self.options, self.program, self.directory = k1, options, program, directory
        start = {e: mpf(START[k1][e]) for e in ENTRIES}
        self.start = newton(k1, mpf(START_M), lift(k1, 0, start))

    def text(self, up, stops, users=()):
        ds = 0.01 if up else -0.01
        return constants(self.k1, 0, START_M, self.start, ds, self.options.dsmax, TIGHT, stops, users)

    def follow(self, up, stops, users=()):
        run(self.program, self.directory, self.text(up, stops, users))
        return labelled(self.directory)

    def branch(self, users):
        """The points at the given M, from the branch before its first fold"""
        users = sorted(set(float(m) for m in users) - {float(START_M)})
        points = []
        for up, stops in ((False, (1.5, 300)), (True, (1.5, self.options.top))):
            wanted = [m for m in users if (m > START_M) == up]
            # Longer lists are not read to their end.
            for first in range(0, max(len(wanted), 1), 8):
                points += self.follow(up, stops, wanted[first : first + 8])[min(1, len(points)) :]
        return points

    def branch_points(self, split):
        """The branch points of the split problem. AUTO may leave the symmetric branch at one of them, so a run ends
        there and the next begins a little further."""
        found = []
        for sign, stop in ((-1, self.options.bottom), (1, self.options.top)):
            m, u = mpf(START_M), self.start
            while sign * (stop - m) > 0:
                listed = lift(self.k1, split, name(self.k1, u))
                text = constants(
                    self.k1, split, m, listed, sign * 0.01, self.options.dsmax, LOOSE + ", SP = ['BP1']", (stop,)
                )
                run(self.program, self.directory, text)
                points = labelled(self.directory)
                last = points[-1]
                entries = symmetric(self.k1, split, last["u"])
                if max(abs(x - y) for x, y in zip(lift(self.k1, split, entries), last["u"])) > 1e-3:
                    sys.exit(f"k1 = {self.k1}, {SPLIT[split]}: AUTO left the symmetric branch above M = {last['M']}")
                if last["kind"] != "BP":
                    if abs(last["M"] - stop) > 1e-6:
                        print(f"k1 = {self.k1}, {SPLIT[split]}: AUTO stopped at M = {last['M']} ({last['kind']})")
                    break
                found.append(last)
                m = mpf(last["M"] + sign * 0.05)
                u = newton(self.k1, m, [mpf(entries[e]) for e in ENTRIES if self.k1 > 1 or e != "b1"])
        return found


# ---------------------------------------------------------------------------------
# Tables and comparison.


def show(k1, point):
    values = dict(zip([e for e in ENTRIES if k1 > 1 or e != "b1"], point["u"]))
    cells = "".join(f"{values[e]:16.10f}" if e in values else f"{'-':>16}" for e in ENTRIES)
    print(f"{k1:2d} {point['kind']:2} {point['M']:16.10f} {point['loss']:14.11f}{cells}")


def tables(families, options):
    """The branch at the M of the table, checked with mpmath, and the special points; returns the latter."""
    print("k1 kind            M           loss" + "".join(f"{e:>16}" for e in ENTRIES))
    events, worst = [], 0.0
    for family in families:
        k1, branch = family.k1, family.branch(TABLE)
        wanted = [p for p in branch if p["kind"] in ("UZ", "EP") and any(abs(p["M"] - m) < 1e-8 for m in TABLE)]
        for point in sorted(wanted, key=lambda p: p["M"]):
            show(k1, point)
            if not options.no_polish:
                m = mpf(round(point["M"]))
                exact = newton(k1, m, [mpf(x) for x in point["u"]])
                differences = [abs(float(x) - y) for x, y in zip(exact, point["u"])]
                worst = max(worst, *differences, abs(float(loss(k1, 0, m, exact)) - point["loss"]))
        for point in branch:
            if point["kind"] in ("LP", "BP", "MX"):
                events.append(dict(k1=k1, kind=point["kind"], M=point["M"], what="symmetric problem", point=point))
        for split in (1, 2)[: family.k1]:
            for point in family.branch_points(split):
                events.append(dict(k1=k1, kind="BP", M=point["M"], what=SPLIT[split], split=split, point=point))
    if not options.no_polish:
        print(f"\nLargest difference of the table from Newton's method with {mp.dps} digits: {worst:.1e}")

    print("\nk1 kind         M, AUTO            M, mpmath   difference")
    for event in events:
        line = f"{event['k1']:2d} {event['kind']:4} {event['M']:15.10f}"
        if not options.no_polish and event["kind"] != "MX":
            k1, m, u = event["k1"], mpf(event["M"]), [mpf(x) for x in event["point"]["u"]]
            if event["kind"] == "LP":
                event["exact"] = polish_fold(k1, m, u)
            else:
                event["exact"] = polish_branch_point(k1, event["split"], m, symmetric(k1, event["split"], u))
            line += f" {mpmath.nstr(event['exact'], 17):>20} {event['M'] - float(event['exact']):12.1e}"
        else:
            line += " " * 34
        print(f"{line}   {event['what']}")
    return events


def symmetric(k1, split, u):
    """The six entries from U of the split problem on the symmetric branch"""
    places = lift(k1, split, {e: e for e in ENTRIES})
    entries = {e: u[places.index(e)] for e in ENTRIES if e in places}
    return {e: entries.get(e, mpf(0)) for e in ENTRIES}


def rows(directories, name, columns):
    """Rows of a table of `committee follow` in each directory, with k1 from its spec and M for its parameter p"""
    found = []
    for directory in map(pathlib.Path, directories):
        spec = tomllib.loads((directory / "spec.toml").read_text(encoding="utf-8"))
        with open(directory / name, newline="", encoding="utf-8") as lines:
            found += [{**row, "k1": spec["flipped"], "M": row["p"]} for row in csv.DictReader(lines)]
    if not found or any(column not in found[0] for column in columns):
        sys.exit(f"{name}: wants a header and rows with the columns {', '.join(columns)}")
    return found


def verdict(label, difference):
    print(f"{label}: {difference:.1e}  {'pass' if difference <= BAR else 'FAIL'} (bar {BAR:.0e})")
    return difference <= BAR


def compare_branch(families, directories, limit):
    """Our points against AUTO's at the same M, on whichever side of a fold is closer"""
    every, good = rows(directories, "branch.csv", ("p", "loss", "a1", "c12", "a2", "b2", "c21")), True
    for family in families:
        ours = [row for row in every if int(float(row["k1"])) == family.k1]
        if not ours:
            continue
        ours = ours[:: -(-len(ours) // limit)]
        points = family.branch([row["M"] for row in ours])
        names = [e for e in ENTRIES if family.k1 > 1 or e != "b1"]
        largest, at, alone = 0.0, None, 0
        for row in ours:
            m = float(row["M"])
            near = [p for p in points if abs(p["M"] - m) <= 1e-8 * m]
            distance = min(
                (max(abs(float(row[e]) - x) for e, x in zip(("loss", *names), (p["loss"], *p["u"]))) for p in near),
                default=None,
            )
            if distance is None:
                alone += 1
            elif at is None or distance > largest:
                largest, at = distance, m
        print(f"k1 = {family.k1}: {len(ours) - alone} points compared, {alone} at an M where AUTO has none")
        if at is None:
            good = False
        else:
            good &= verdict(f"k1 = {family.k1}: largest difference of loss and entries, at M = {at:g}", largest)
    return good


def compare_events(events, directories):
    """Each special point of AUTO against our nearest one of the same family"""
    every, good, used = rows(directories, "events.csv", ("kind", "p")), True, set()
    for event in events:
        if event["kind"] == "MX":
            continue
        ours = [i for i, row in enumerate(every) if int(float(row["k1"])) == event["k1"]]
        label = f"k1 = {event['k1']}, {event['kind']} at {event['M']:.10f}, {event['what']}"
        nearest = min(ours, key=lambda i: abs(float(every[i]["M"]) - event["M"]), default=None)
        if nearest is None or abs(float(every[nearest]["M"]) - event["M"]) > 1e-2:
            print(f"{label}: not among ours")
            continue
        used.add(nearest)
        good &= verdict(f"{label}; ours: {every[nearest]['kind']}", abs(float(every[nearest]["M"]) - event["M"]))
        if "exact" in event:
            print(f"    from mpmath: {abs(float(every[nearest]['M']) - float(event['exact'])):.1e}")
    for i, row in enumerate(every):
        if i not in used:
            print(f"k1 = {row['k1']}, {row['kind']} at {row['M']}: AUTO has no such point")
    return good


def times(families, options):
    """Both branches from M = 17 to both ends of the range; with --command, another program in turn"""
    best, other, count = float("inf"), float("inf"), 0
    for _ in range(options.repeats):
        seconds, count = 0.0, 0
        for family in families:
            for up, stop in ((False, options.bottom), (True, options.top)):
                seconds += run(family.program, family.directory, family.text(up, (stop,)))
                count += steps(family.directory)
        best = min(best, seconds)
        if options.command:
            begin = time.perf_counter()
            done = subprocess.run(shlex.split(options.command), capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{options.command}\nfailed with status {done.returncode}:\n{done.stderr.strip()}")
            other = min(other, time.perf_counter() - begin)
    print(
        f"\nAUTO, k1 = {', '.join(str(f.k1) for f in families)}, M from {options.bottom:g} to {options.top:g}: "
        f"{count} steps in {1e3 * best:.1f} ms, {count / best:.0f} steps/s (best of {options.repeats}, "
        f"{2 * len(families)} processes)"
    )
    if options.command:
        line = f"{options.command}: {1e3 * other:.1f} ms"
        if options.command_steps:
            speed = options.command_steps / other
            line += f", {speed:.0f} steps/s, {speed * best / count:.2f} times AUTO's"
        print(f"{line}; AUTO's time over it: {best / other:.2f}")


# ---------------------------------------------------------------------------------


def check():
    """The reduced loss against the loss of the whole matrix, M = 6 and 7, at random symmetric and split states"""
    worst, state = mpf(0), 1
    for k1, split, m in ((1, 0, 6), (2, 0, 7), (1, 1, 6), (2, 1, 7), (2, 2, 7)):
        u = []
        for _ in lift(k1, split, dict.fromkeys(ENTRIES, 0)):
            state = state * 48271 % 2147483647
            u.append(mpf(state) / 2147483647 - mpf("0.5"))
        blocks = layout(k1, split)
        of = [0] * (k1 - (split == 2)) + [1] * (m - k1 - (split == 1)) + [2] * (split > 0)
        values = iter(u)
        own, c = [], {}
        for s, (_, one) in enumerate(blocks):
            own.append(next(values))
            c[s, s] = mpf(0) if one else next(values)
            for t in range(len(blocks)):
                if t != s:
                    c[s, t] = next(values)
        w = [[own[of[i]] if i == j else c[of[i], of[j]] for j in range(m)] for i in range(m)]
        v = [[mpf(i == j) for j in range(m)] for i in range(m)]
        signed = [(row, 1) for row in w] + [(row, -1) for row in v]
        whole = mpf(0)
        for x, a in signed:
            for y, b in signed:
                length = mpmath.sqrt(sum(p * p for p in x) * sum(p * p for p in y))
                q = sum(p * r for p, r in zip(x, y))
                angle = mpmath.acos(min(mpf(1), max(mpf(-1), q / length)))
                whole += a * b * length * (mpmath.sin(angle) + (mp.pi - angle) * mpmath.cos(angle)) / (4 * mp.pi)
        worst = max(worst, abs(whole - loss(k1, split, mpf(m), u)))
    print(f"reduced loss against the whole matrix: {mpmath.nstr(worst, 2)}")
    # Reduced losses known from descents of the whole matrix.
    for k1, m, known in ((1, 6, 0.025080581002), (1, 8, 0.021508037172), (2, 8, 0.039793234), (2, 9, 0.037488963)):
        u = lift(k1, 0, {e: mpf(START[k1][e]) for e in ENTRIES})
        for step in range(START_M, m - 1, -1):
            u = newton(k1, mpf(step), u)
        value = loss(k1, 0, mpf(m), u)
        print(f"k1 = {k1}, M = {m}: loss {mpmath.nstr(value, 15)}, from a descent {known}")
        worst = max(worst, (abs(value - known) - mpf("1e-9")))
    return worst < mpf(10) ** -12


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--auto", default=os.environ.get("AUTO_DIR", "/usr/lib/auto-07p"), help="AUTO's directory")
    parser.add_argument("--families", type=int, nargs="+", choices=(1, 2), default=(1, 2), metavar="K1")
    parser.add_argument("--bottom", type=float, default=4.0, help="smallest M in times and branch points")
    parser.add_argument("--top", type=float, default=200.0, help="largest M")
    parser.add_argument("--dsmax", type=float, default=0.1, help="AUTO's largest step")
    parser.add_argument("--no-polish", action="store_true", help="leave out the check with mpmath")
    parser.add_argument("--ours", nargs="+", metavar="DIR", help="directories written by `committee follow`")
    parser.add_argument("--limit", type=int, default=200, help="most points of a family that are compared")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--command", help="time this command in turn with AUTO")
    parser.add_argument("--command-steps", type=int, metavar="N", help="steps that this command takes")
    parser.add_argument("--check", action="store_true", help="check the reduced loss, run nothing else")
    options = parser.parse_args()
    if options.repeats < 1 or options.limit < 1:
        parser.error("repeats and limit must be positive")
    if not options.bottom < START_M < options.top:
        parser.error(f"the range must contain M = {START_M}")
    return options


def main():
    options = arguments()
    if options.check:
        return 0 if check() else 1
    good = True
    with tempfile.TemporaryDirectory() as directory:
        program = build(options, directory)
        families = [Family(k1, options, program, directory) for k1 in options.families]
        events = tables(families, options)
        if options.ours:
            print()
            good &= compare_branch(families, options.ours, options.limit)
            print()
            good &= compare_events(events, options.ours)
        times(families, options)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
