#!/usr/bin/env python3
"""Gradient descent on the exact population loss of two-layer ReLU networks, in NumPy.

The student  f(x) = sum_{k<=K} relu(w_k.x)  learns the teacher  sum_{m<=M} relu(v_m.x)
with orthonormal teacher vectors V = I and x ~ N(0, I_d).  The loss

    L = 1/2 E (f(x) - f*(x))^2

and its gradient are closed forms in the angles between the vectors, so that nothing is
sampled.  Row i of the gradient is

    w_i/2 + sum_{j != i} g(w_i, w_j) - sum_m g(w_i, v_m),
    g(w, v) = (|v| sin(th) w/|w| + (pi - th) v) / (2 pi).

With th_ii = 0 the term w_i/2 is the diagonal of (pi - th)/(2 pi), so that the gradient of
a run is one product of a K x K matrix with W, less (pi - th)/(2 pi) of the teacher columns.

Prints one line of JSON.  See README.md.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import math
import multiprocessing
import platform
import sys
import time

import numpy as np

# Losses of the most frequent minima for K = M = d = 17; 0 is the teacher itself.
LEVELS_17 = (0.0, 0.0127962455, 0.0247664285, 0.0361749155, 0.0470865562)
LEVEL_TOLERANCE = 1e-9
GLOBAL_LOSS = 1e-3


# ---------------------------------------------------------------- shared with jax_peer.py


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--students", type=int, default=17, help="K")
    parser.add_argument("--teachers", type=int, default=17, help="M (at most the dimension)")
    parser.add_argument("--dimension", type=int, default=17, help="d")
    parser.add_argument("--batch", type=int, default=256, help="number of runs")
    parser.add_argument("--step", type=float, default=0.2, help="step of gradient descent")
    parser.add_argument("--tolerance", type=float, default=1e-9, help="on |grad|_F of a run")
    parser.add_argument("--share", type=float, default=0.99, help="stop when this share of the runs is done")
    parser.add_argument("--max-steps", type=int, default=200000)
    parser.add_argument("--every", type=int, default=50, help="steps between convergence checks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="validate gradient and losses, no timing")
    return parser


def parse(parser):
    options = parser.parse_args()
    if not 1 <= options.teachers <= options.dimension:
        parser.error("the teacher is orthonormal: 1 <= teachers <= dimension")
    if min(options.students, options.batch, options.every) < 1:
        parser.error("students, batch and every must be positive")
    if not 0.0 < options.share <= 1.0:
        parser.error("share must lie in (0, 1]")
    return options


def starts(options):
    """Entries N(0, 1/d), the same for both peers."""
    shape = (options.batch, options.students, options.dimension)
    return np.random.default_rng(options.seed).standard_normal(shape) / math.sqrt(options.dimension)


def wanted(options):
    return max(1, math.ceil(options.share * options.batch - 1e-9))


def sigma(cosine, scale):
    """E relu(u.x) relu(v.x) for |u||v| = scale at the given cosine."""
    cosine = np.clip(cosine, -1.0, 1.0)
    angle = np.arccos(cosine)
    sine = np.sqrt((1.0 - cosine) * (1.0 + cosine))
    return scale * (sine + (np.pi - angle) * cosine) / (2.0 * np.pi)


def losses(W, teachers):
    """Exact population loss of every run in W (runs, K, d)."""
    norms = np.sqrt(np.einsum("bij,bij->bi", W, W))
    U = W / norms[:, :, None]
    students = sigma(U @ U.transpose(0, 2, 1), norms[:, :, None] * norms[:, None, :])
    mixed = sigma(U[:, :, :teachers], norms[:, :, None])
    own = teachers / 2.0 + teachers * (teachers - 1) / (2.0 * np.pi)
    return 0.5 * students.sum((1, 2)) - mixed.sum((1, 2)) + 0.5 * own


def finite_difference(W, teachers, step=1e-5):
    """Central differences of `losses`, for one run W (K, d)."""
    K, d = W.shape
    shifts = step * np.eye(K * d).reshape(K * d, K, d)
    plus, minus = losses(W + shifts, teachers), losses(W - shifts, teachers)
    return ((plus - minus) / (2.0 * step)).reshape(K, d)


def levels(found, options):
    """Counts of the known levels; None for another problem than K = M = d = 17."""
    if (options.students, options.teachers, options.dimension) != (17, 17, 17):
        return None
    counts, unknown = {}, []
    for value in found:
        level = min(LEVELS_17, key=lambda known: abs(known - value))
        if abs(level - value) < LEVEL_TOLERANCE:
            counts[f"{level:.10f}"] = counts.get(f"{level:.10f}", 0) + 1
        else:
            unknown.append(float(value))
    return {"known": dict(sorted(counts.items())), "unknown": sorted(unknown)}


def report(peer, options, final, seconds, steps, gradients, compile_seconds, versions, extra):
    found = losses(final, options.teachers) if len(final) else np.empty(0)
    finished = len(final)
    line = {
        "peer": peer,
        "runs": options.batch,
        "finished": finished,
        "seconds": seconds,
        "seconds_per_finished_run": seconds / finished if finished else None,
        "steps": steps,
        "compile_seconds": compile_seconds,
        "gradient_microseconds": 1e6 * seconds / gradients,
        "global_share": float(np.mean(found < GLOBAL_LOSS)) if finished else None,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, **versions},
        "gradients": gradients,
        "levels": levels(found, options),
        **extra,
    }
    print(json.dumps(line), flush=True)


def check(peer, options, gradient, descend):
    """`gradient`: (runs, K, d) -> (runs, K, d); `descend`: -> final W of the finished runs."""
    W = starts(options)[:3]
    worst = max(
        float(np.abs(g - finite_difference(w, options.teachers)).max())
        for w, g in zip(W, gradient(W))
    )
    final = descend()
    residuals = np.sqrt((gradient(final) ** 2).sum((1, 2)))
    found = levels(losses(final, options.teachers), options)
    ok = worst < 1e-8 and len(final) >= wanted(options) and residuals.max(initial=0.0) < 1.1 * options.tolerance
    # Rare minima outside the table are possible; they may not be the rule.
    ok = ok and (found is None or len(found["unknown"]) <= 0.05 * len(final))
    print(
        json.dumps(
            {
                "peer": peer,
                "check": "passed" if ok else "FAILED",
                "finite_difference_error": worst,
                "finished": len(final),
                "largest_residual": float(residuals.max(initial=0.0)),
                "levels": found,
            }
        )
    )
    return 0 if ok else 1


# ---------------------------------------------------------------- the NumPy descent


class Descent:
    """Buffers for up to `runs` runs, allocated once; `resize` makes views of fewer.

    Students' and teachers' cosines lie behind one another in one flat buffer, so that every
    elementwise function is one call on contiguous memory.
    """

    def __init__(self, runs, K, M, d):
        self.K, self.M, self.d = K, M, d
        self.flat = [np.empty(runs * K * (K + M)) for _ in range(3)]
        self.units = np.empty(runs * K * d) if d != M else None
        self.units_t, self.grad = np.empty(runs * K * d), np.empty(runs * K * d)
        self.small = [np.empty(runs * K) for _ in range(4)]
        self.ones = np.ones(M)
        self.resize(runs)

    def resize(self, b):
        K, M, d = self.K, self.M, self.d
        cut, size = b * K * K, b * K * (K + M)
        self.C, self.T, self.S = (buffer[:size] for buffer in self.flat)
        self.C_students = self.C[:cut].reshape(b, K, K)
        self.C_teachers = self.C[cut:].reshape(b, K, M)
        self.T_students = self.T[:cut].reshape(b, K, K)
        self.T_teachers = self.T[cut:].reshape(b, K, M)
        self.S_students = self.S[:cut].reshape(b, K, K)
        self.S_teachers = self.S[cut:].reshape(b * K, M)
        self.C_diagonal = self.C[:cut].reshape(b, K * K)[:, :: K + 1]
        self.T_diagonal = self.T[:cut].reshape(b, K * K)[:, :: K + 1]
        # For M = d the units are the cosines with the teacher and need no copy.
        self.U = self.C_teachers if self.units is None else self.units[: b * K * d].reshape(b, K, d)
        self.U_t = self.units_t[: b * K * d].reshape(b, d, K)
        self.G = self.grad[: b * K * d].reshape(b, K, d)
        self.norms, self.inverse, self.r, self.q = (buffer[: b * K].reshape(b, K) for buffer in self.small)

    def gradient(self, W):
        """2 pi times the gradient of every run, in a buffer that the next call overwrites."""
        C, T, S, r = self.C, self.T, self.S, self.r
        np.einsum("bij,bij->bi", W, W, out=r)
        np.sqrt(r, out=self.norms)
        np.divide(1.0, self.norms, out=self.inverse)
        np.multiply(W, self.inverse[:, :, None], out=self.U)
        if self.U is not self.C_teachers:
            self.C_teachers[...] = self.U[:, :, : self.M]
        # A copy of the transpose and GEMM beat matmul(U, U.T), which turns to SYRK.
        np.copyto(self.U_t, self.U.transpose(0, 2, 1))
        np.matmul(self.U, self.U_t, out=self.C_students)
        np.clip(C, -1.0, 1.0, out=C)
        self.C_diagonal[...] = 1.0
        np.arccos(C, out=T)
        np.subtract(np.pi, T, out=T)
        # 1-c^2 is good enough: next to c = 1 it is exact to the last place of c.
        np.multiply(C, C, out=S)
        np.subtract(1.0, S, out=S)
        np.sqrt(S, out=S)
        np.matmul(self.S_students, self.norms[:, :, None], out=r[:, :, None])
        np.matmul(self.S_teachers, self.ones, out=self.q.reshape(-1))
        np.subtract(r, self.q, out=r)
        np.multiply(r, self.inverse, out=r)
        np.add(r, np.pi, out=self.T_diagonal)
        np.matmul(self.T_students, W, out=self.G)
        G = self.G if self.M == self.d else self.G[:, :, : self.M]
        np.subtract(G, self.T_teachers, out=G)
        return self.G


def descend(W, options, finished_elsewhere, target, publish):
    """Runs until all of W is done or enough runs are done over all processes.

    Returns the final W of the finished runs, the steps taken and the gradients computed.
    """
    b, K, d = W.shape
    work = Descent(b, K, options.teachers, d)
    W = W.copy()
    rate = options.step / (2.0 * np.pi)
    bound = (2.0 * np.pi * options.tolerance) ** 2
    done, count, steps, gradients = [], 0, 0, 0
    while True:
        G = work.gradient(W)
        gradients += len(W)
        if steps % options.every == 0:
            squares = np.einsum("bij,bij->b", G, G)
            ready = squares < bound
            if options.keep:
                count, done = int(ready.sum()), [W[ready].copy()]
                publish(count)
            elif ready.any():
                done.append(W[ready])
                count += len(done[-1])
                publish(count)
                W = np.ascontiguousarray(W[~ready])
                if len(W) == 0:
                    break
                G = G[~ready]
                work.resize(len(W))
            if count + finished_elsewhere() >= target or steps >= options.max_steps:
                break
        np.multiply(G, rate, out=G)
        np.subtract(W, G, out=W)
        steps += 1
    final = np.concatenate(done) if done else np.empty((0, K, d))
    return final, steps, gradients


def worker(index, W, options, counts, target, barrier, answers):
    others = [i for i in range(len(counts)) if i != index]
    Descent(2, W.shape[1], options.teachers, W.shape[2]).gradient(W[:2].copy() if len(W) > 1 else W.repeat(2, 0))
    barrier.wait()
    begin = time.monotonic()
    result = descend(
        W,
        options,
        lambda: sum(counts[i] for i in others),
        target,
        lambda count: counts.__setitem__(index, count),
    )
    answers.put((index, begin, time.monotonic(), result))


def parallel(options):
    """The batch dealt over the processes; time from the first start to the last end."""
    parts = np.array_split(starts(options), min(options.processes, options.batch))
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", len(parts), lock=False)
    barrier, answers = context.Barrier(len(parts)), context.Queue()
    target = wanted(options)
    processes = [
        context.Process(target=worker, args=(i, part, options, counts, target, barrier, answers))
        for i, part in enumerate(parts)
    ]
    for process in processes:
        process.start()
    got = sorted((answers.get() for _ in processes), key=lambda answer: answer[0])
    for process in processes:
        process.join()
    seconds = max(end for _, _, end, _ in got) - min(begin for _, begin, _, _ in got)
    final = np.concatenate([result[0] for *_, result in got])
    steps = max(result[1] for *_, result in got)
    gradients = sum(result[2] for *_, result in got)
    return final, seconds, steps, gradients


def gradients_of(W, options):
    return Descent(*W.shape[:2], options.teachers, W.shape[2]).gradient(W) / (2.0 * np.pi)


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="finished runs stay in the batch (the plain program)")
    options = parse(parser)
    if options.check:
        return check("numpy", options, lambda W: gradients_of(W, options), lambda: parallel(options)[0])
    final, seconds, steps, gradients = parallel(options)
    report("numpy", options, final, seconds, steps, gradients, 0.0, {}, {"processes": options.processes})
    return 0


if __name__ == "__main__":
    sys.exit(main())
