#!/usr/bin/env python3
"""Gradient descent on the exact population loss of two-layer ReLU networks, in JAX.

The problem, the starts and the output are those of numpy_peer.py.  The steps run inside one
compiled loop per device and batch size; Python is entered only to drop finished runs.
Prints one line of JSON.  See README.md.
"""

import math
import os
import sys
import threading
import time

import numpy as np

import numpy_peer as common

# asin(x) = x + x^3 R(x^2) on |x| <= 1/2, Chebyshev fit, relative error below 1e-16.
ARCSINE = (
    0.1666666666666665,
    0.07500000000020764,
    0.044642857103423646,
    0.030381947367098483,
    0.0223720476317445,
    0.01735525995578648,
    0.013929652902324969,
    0.01187549438264838,
    0.007802949477301906,
    0.016035514349293623,
    -0.010749050339930202,
    0.02816921806104353,
)


def start_jax(options):
    """XLA reads its flags when JAX is imported; flags of the caller come last and win."""
    flags = ["--xla_cpu_prefer_vector_width=512"]
    if options.parallel == "devices":
        flags.append(f"--xla_force_host_platform_device_count={options.devices}")
        flags.append("--xla_cpu_multi_thread_eigen=false")
    os.environ["XLA_FLAGS"] = " ".join(flags + [os.environ.get("XLA_FLAGS", "")]).strip()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def make_gradient(jax, options):
    """2 pi times the gradient of every run of W (runs, K, d)."""
    jnp, lax = jax.numpy, jax.lax
    K, M, d = options.students, options.teachers, options.dimension
    diagonal = np.eye(K, dtype=bool)

    def arccos(c):
        # jnp.arccos goes through atan2, one call per element; this form vectorizes.
        a = jnp.abs(c)
        small = a < 0.5
        z = jnp.where(small, c * c, 0.5 * (1.0 - a))
        x = jnp.where(small, a, jnp.sqrt(z))
        p = ARCSINE[-1]
        for coefficient in ARCSINE[-2::-1]:
            p = p * z + coefficient
        y = x + x * z * p
        inner = math.pi / 2 - jnp.where(c < 0, -y, y)
        outer = jnp.where(c < 0, math.pi - 2.0 * y, 2.0 * y)
        return jnp.where(small, inner, outer)

    if options.arccos == "builtin":
        arccos = jnp.arccos

    def angles(c):
        c = jnp.clip(c, -1.0, 1.0)
        both = math.pi - arccos(c), jnp.sqrt(1.0 - c * c)
        # Without the barrier XLA evaluates both again inside every consumer.
        return lax.optimization_barrier(both)

    def gradient(W):
        b = W.shape[0]
        norms = jnp.sqrt(jnp.einsum("bij,bij->bi", W, W))
        inverse = 1.0 / norms
        U = lax.optimization_barrier(W * inverse[:, :, None])
        cosines = jnp.where(diagonal, 1.0, jnp.einsum("bik,bjk->bij", U, U))
        T, S = angles(cosines)
        T_teachers, S_teachers = angles(U[:, :, :M])
        r = jnp.einsum("bij,bj->bi", S, norms)
        r = r - (S_teachers.reshape(b * K, M) @ np.ones(M)).reshape(b, K)
        G = jnp.einsum("bij,bjk->bik", T, W) + (r * inverse)[:, :, None] * W
        if M == d:
            return G - T_teachers
        return G.at[:, :, :M].add(-T_teachers)

    return gradient


def make_advance(jax, options, gradient):
    """(W, G) -> (W, G, |G|^2, steps): chunks of steps until at most `few` runs are left, or
    `chunks` chunks are done."""
    jnp, lax = jax.numpy, jax.lax
    rate = options.step / (2.0 * math.pi)
    bound = (2.0 * math.pi * options.tolerance) ** 2
    square = lambda G: jnp.einsum("bij,bij->b", G, G)

    def advance(W, G, few, chunks):
        def unfinished(state):
            _, _, squares, done = state
            return (done < chunks) & (jnp.sum(squares >= bound) > few)

        def chunk(state):
            W, G, _, done = state
            W = W - rate * G
            W = lax.fori_loop(1, options.every, lambda _, W: W - rate * gradient(W), W)
            G = gradient(W)
            return W, G, square(G), done + 1

        return lax.while_loop(unfinished, chunk, (W, G, square(G), 0))

    return jax.jit(advance)


def ladder(size, kind):
    """Batch sizes that are compiled; a batch shrinks along them as its runs finish.

    power: 1, 2, 4, 8, ...; fine: 3, 6, 12, ... as well; none: the batch keeps its size.
    """
    steps = {size}
    power = 1
    while power < size and kind != "none":
        steps.add(power)
        if kind == "fine" and 3 * power // 2 < size and power > 1:
            steps.add(3 * power // 2)
        power *= 2
    return sorted(steps)


class Runner:
    def __init__(self, jax, options):
        self.jax, self.options = jax, options
        self.devices = jax.devices("cpu")
        if options.parallel == "threads":
            self.devices = self.devices[:1]
        self.parts = [p for p in np.array_split(common.starts(options), len(self.devices)) if len(p)]
        self.gradient = jax.jit(make_gradient(jax, options))
        self.advance = make_advance(jax, options, make_gradient(jax, options))
        self.bound = (2.0 * math.pi * options.tolerance) ** 2
        begin = time.monotonic()
        for part, device in zip(self.parts, self.devices):
            for size in ladder(len(part), options.ladder):
                W = jax.device_put(part[:size], device)
                G = self.gradient(W)
                jax.block_until_ready(self.advance(W, G, 0, 1))
        self.compile_seconds = time.monotonic() - begin

    def run(self):
        options = self.options
        target = common.wanted(options)
        counts = [0] * len(self.parts)
        answers = [None] * len(self.parts)

        def drive(index):
            answers[index] = self.descend(index, counts, target)

        threads = [threading.Thread(target=drive, args=(i,)) for i in range(len(self.parts))]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begin
        final = np.concatenate([answer[0] for answer in answers])
        return final, seconds, max(a[1] for a in answers), sum(a[2] for a in answers)

    def descend(self, index, counts, target):
        options, device, jax = self.options, self.devices[index], self.jax
        size = len(self.parts[index])
        sizes = ladder(size, options.ladder)
        W = jax.device_put(self.parts[index], device)
        G = self.gradient(W)
        gradients, steps = size, 0
        finished = np.zeros(size, dtype=bool)
        results = []
        while True:
            smaller = max((s for s in sizes if s < size), default=0)
            # A few milliseconds per call, so that the target is noticed in time.
            chunks = max(1, 256 // size)
            chunks = max(1, min(chunks, (options.max_steps - steps) // options.every))
            W, G, squares, done = self.advance(W, G, smaller, chunks)
            squares, done = np.asarray(squares), int(done)
            steps += done * options.every
            gradients += done * options.every * size
            new = (squares < self.bound) & ~finished
            if new.any():
                results.append(np.asarray(W)[new])
                finished |= new
                counts[index] += int(new.sum())
            active = np.flatnonzero(~finished)
            if len(active) == 0 or sum(counts) >= target or steps >= options.max_steps:
                break
            fit = min(s for s in sizes if s >= len(active))
            if fit < size:
                # Filled up with finished runs, which stay where they are.
                keep = np.concatenate([active, np.flatnonzero(finished)[: fit - len(active)]])
                W = jax.device_put(np.asarray(W)[keep], device)
                G = jax.device_put(np.asarray(G)[keep], device)
                finished, size = finished[keep], fit
        shape = (0, options.students, options.dimension)
        return np.concatenate(results) if results else np.empty(shape), steps, gradients


def main():
    parser = common.arguments(__doc__.splitlines()[0])
    parser.add_argument("--parallel", choices=("devices", "threads"), default="devices")
    parser.add_argument("--devices", type=int, default=2, help="host devices for --parallel devices")
    parser.add_argument("--arccos", choices=("polynomial", "builtin"), default="polynomial")
    parser.add_argument("--ladder", choices=("fine", "power", "none"), default="fine")
    options = common.parse(parser)
    jax = start_jax(options)
    runner = Runner(jax, options)
    if options.check:
        gradient = lambda W: np.asarray(runner.gradient(W)) / (2.0 * np.pi)
        return common.check("jax", options, gradient, lambda: runner.run()[0])
    final, seconds, steps, gradients = runner.run()
    import jaxlib

    common.report(
        "jax",
        options,
        final,
        seconds,
        steps,
        gradients,
        runner.compile_seconds,
        {"jax": jax.__version__, "jaxlib": jaxlib.__version__},
        {"parallel": options.parallel, "devices": len(runner.devices), "ladder": options.ladder},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
