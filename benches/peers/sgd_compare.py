#!/usr/bin/env python3
"""Times explicit SGD by `committee`, NumPy and JAX in turn on this machine. See README.md for what is compared.

Every round runs each program once; of each the best of its rounds counts.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--dimension", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=8192)
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    sizes = [
        word
        for name in ("units", "dimension", "steps", "runs")
        for word in (f"--{name}", str(getattr(options, name)))
    ] + ["--repeats", "1"]
    peer = [sys.executable, str(HERE / "sgd_peers.py")]
    programs = {
        "committee, float64": ["cargo", "bench", "--quiet", "--bench", "sgd", "--", *sizes],
        "NumPy, float64": [*peer, "numpy", *sizes],
        "NumPy, float32": [*peer, "numpy", *sizes, "--dtype", "float32"],
        "JAX, float64": [*peer, "jax", *sizes],
        "JAX, float32": [*peer, "jax", *sizes, "--dtype", "float32"],
        "JAX, float32, own generator": [*peer, "jax", *sizes, "--dtype", "float32", "--random", "xoshiro"],
    }
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    subprocess.run(["cargo", "bench", "--quiet", "--no-run", "--bench", "sgd"], cwd=ROOT, check=True)
    best = dict.fromkeys(programs, 0.0)
    for _ in range(options.repeats):
        for name, command in programs.items():
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{name} failed with status {done.returncode}:\n{done.stderr.strip()}")
            best[name] = max(best[name], json.loads(done.stdout.splitlines()[-1])["samples_per_second"])
    ours = best["committee, float64"]
    for name, speed in best.items():
        print(f"{name:30} {speed:8.0f} samples/s   {ours / speed:5.2f}")


if __name__ == "__main__":
    main()
