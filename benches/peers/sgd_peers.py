#!/usr/bin/env python3
"""One-pass SGD of a two-layer ReLU student in d dimensions by NumPy or JAX: samples per second on this machine.

The same training as `committee::simulation::explicit`: K = M units, orthonormal teacher, B = 1, label noise, eta = 0.1,
starts w ~ N(0, I/d), one independent run per process (NumPy) or per device (JAX). See README.md for what is compared.
"""

import argparse
import json
import math
import multiprocessing
import os
import sys
import time

ETA, NOISE = 0.1, 0.1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=("numpy", "jax"))
    parser.add_argument("--units", type=int, default=8, help="K = M")
    parser.add_argument("--dimension", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=8192, help="samples of each run; a multiple of the block")
    parser.add_argument("--block", type=int, default=64, help="inputs drawn at once")
    parser.add_argument("--runs", type=int, default=2, help="processes (NumPy) or devices (JAX)")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    generators = ("threefry2x32", "rbg", "unsafe_rbg", "xoshiro")
    parser.add_argument("--random", choices=generators, default=generators[0], help="of JAX; xoshiro is float32 only")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.steps % options.block:
        parser.error("steps must be a multiple of the block")
    if options.random == "xoshiro" and options.dtype != "float32":
        parser.error("xoshiro is for float32 only")
    return options


def numpy_run(options, run, barrier, results):
    import numpy as np

    k, d, block = options.units, options.dimension, options.block
    kind = np.dtype(options.dtype).type
    rng = np.random.Generator(np.random.SFC64([1, run]))
    rate = kind(ETA / d)
    inputs = np.empty((block, d), dtype=kind)
    scaled = np.empty(d, dtype=kind)
    seconds = []
    for _ in range(options.repeats):
        w = rng.standard_normal((k, d), dtype=kind) / kind(math.sqrt(d))
        barrier.wait()
        begin = time.perf_counter()
        for _ in range(options.steps // block):
            rng.standard_normal(out=inputs, dtype=kind)
            # The teacher is the first K coordinates.
            targets = np.maximum(inputs[:, :k], 0).sum(axis=1) + kind(NOISE) * rng.standard_normal(block, dtype=kind)
            for x, target in zip(inputs, targets):
                fields = w @ x
                active = np.flatnonzero(fields > 0)
                error = fields[active].sum() - target
                # Active units share one change: two passes over d each instead of an outer product.
                np.multiply(x, rate * error, out=scaled)
                for i in active:
                    np.subtract(w[i], scaled, out=w[i])
        barrier.wait()
        seconds.append(time.perf_counter() - begin)
    results.put((run, seconds, bool(np.isfinite(w).all()), float((w * w).sum(axis=1).mean())))


def numpy_peer(options):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(options.runs), context.Queue()
    arguments = [(options, run, barrier, results) for run in range(options.runs)]
    workers = [context.Process(target=numpy_run, args=a) for a in arguments]
    for worker in workers:
        worker.start()
    found = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    seconds = min(max(times) for times in zip(*(entry[1] for entry in found)))
    return seconds, found[0][3], all(entry[2] for entry in found)


def jax_peer(options):
    import threading

    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", options.dtype == "float64")
    k, d, block = options.units, options.dimension, options.block
    kind = jnp.dtype(options.dtype)

    def one(w, sample):
        x, target = sample
        fields = w @ x
        error = jnp.maximum(fields, 0).sum() - target
        return w - (ETA / d * error * (fields > 0))[:, None] * x, None

    def some(_, state):
        key, w = state
        key, first, second = jax.random.split(key, 3)
        inputs = jax.random.normal(first, (block, d), kind)
        targets = jnp.maximum(inputs[:, :k], 0).sum(axis=1) + NOISE * jax.random.normal(second, (block,), kind)
        return key, jax.lax.scan(one, w, (inputs, targets))[0]

    def advanced(state):
        # xoshiro128++, a generator for each coordinate, and the upper 23 bits of its word.
        s0, s1, s2, s3 = state
        rotated = lambda word, by: (word << by) | (word >> (32 - by))
        word = rotated(s0 + s3, 7) + s0
        s2, s3 = s2 ^ s0, s3 ^ s1
        state = (s0 ^ s3, s1 ^ s2, s2 ^ (s1 << 9), rotated(s3, 11))
        unit = jax.lax.bitcast_convert_type((word >> 9) | jnp.uint32(0x3F800000), jnp.float32) - 1
        # Centred in its cell, so never -1 or 1.
        return state, math.sqrt(2) * jax.lax.erf_inv(2 * unit - jnp.float32(1 - 2.0**-23))

    def alone(_, state):
        words, w = state
        words, x = advanced(words)
        # One coordinate more than the input's: the label's noise.
        target = jnp.maximum(x[:k], 0).sum() + NOISE * x[d]
        return words, one(w, (x[:d], target))[0]

    own = options.random == "xoshiro"
    body, count = (alone, options.steps) if own else (some, options.steps // block)
    train = jax.jit(lambda key, w: jax.lax.fori_loop(0, count, body, (key, w)), donate_argnums=1)

    def start(run):
        key = jax.random.key(run, impl="threefry2x32" if own else options.random)
        if own:
            key = tuple(jax.random.bits(key, (4, d + 1), jnp.uint32))
        w = jax.random.normal(jax.random.key(100 + run), (k, d), kind) / math.sqrt(d)
        return jax.device_put((key, w), jax.devices()[run % len(jax.devices())])

    seconds = []
    for repeat in range(options.repeats + 1):
        states = [start(run) for run in range(options.runs)]
        jax.block_until_ready(states)
        results = [None] * options.runs

        def work(run):
            results[run] = jax.block_until_ready(train(*states[run]))

        begin = time.perf_counter()
        threads = [threading.Thread(target=work, args=(run,)) for run in range(options.runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # The first round compiles.
        if repeat > 0:
            seconds.append(time.perf_counter() - begin)
    w = results[0][1]
    return min(seconds), float((w * w).sum(axis=1).mean()), bool(jnp.isfinite(w).all())


def main():
    options = arguments()
    # One thread per run; must stand before the imports.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    flags = f"--xla_force_host_platform_device_count={options.runs} --xla_cpu_multi_thread_eigen=false"
    os.environ["XLA_FLAGS"] = flags
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    seconds, norm, finite = (numpy_peer if options.peer == "numpy" else jax_peer)(options)
    samples = options.runs * options.steps
    answer = {
        "peer": options.peer,
        "dtype": options.dtype,
        "samples": samples,
        "seconds": seconds,
        "samples_per_second": samples / seconds,
        "mean_square_norm": norm,
    }
    print(json.dumps(answer))
    sys.exit(0 if finite else 1)


if __name__ == "__main__":
    main()
