#!/usr/bin/env python3
"""Times `committee landscape` against the NumPy and the JAX peer, in turn, on this machine.

Every round runs each of them once; the smallest time per finished run of each counts.
See README.md for what is compared.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OURS = "committee"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--committee", default=str(ROOT / "target" / "release" / "committee"), help="our program")
    parser.add_argument("--runs", type=int, default=2000, help="runs of our program")
    parser.add_argument("--seed", type=int, default=1, help="seed of all")
    parser.add_argument("--students", type=int, default=17)
    parser.add_argument("--teachers", type=int, default=17)
    parser.add_argument("--dimension", type=int, default=17)
    parser.add_argument("--batch", type=int, default=256, help="runs of a peer")
    parser.add_argument("--share", type=float, default=0.99, help="share of its runs that a peer finishes")
    parser.add_argument("--tolerance", type=float, default=1e-9, help="of the peers, on |grad|")
    parser.add_argument("--step", type=float, default=0.2, help="step of the peers' gradient descent")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=(OURS, "numpy", "jax"), default=(OURS, "numpy", "jax"))
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("repeats must be positive")
    return options


def call(command, directory):
    """Wall time and the JSON object on stdout."""
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    begin = time.monotonic()
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - begin
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed with status {done.returncode}:\n{done.stderr.strip()}")
    return seconds, parse(done.stdout, command)


def parse(text, command):
    candidates = [text] + [line for line in reversed(text.splitlines()) if line.startswith("{")]
    for candidate in candidates:
        try:
            value = json.loads(candidate)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict):
            return value
    sys.exit(f"{' '.join(command)}\nprinted no JSON object: {text[:200]!r}")


def sizes(options):
    names = ("students", "teachers", "dimension", "seed")
    return [word for name in names for word in (f"--{name}", str(getattr(options, name)))]


def ours(options, directory):
    # A relative path to the program is meant from where this script was called.
    program = str(pathlib.Path(options.committee).resolve())
    command = [program, "landscape", *sizes(options), "--runs", str(options.runs), "--json", "--quiet"]
    seconds, answer = call([*command, "--out", os.path.join(directory, "out"), "--force"], directory)
    try:
        finished = int(answer["runs"]) - int(answer["unresolved"])
    except (KeyError, TypeError, ValueError):
        sys.exit(f"{' '.join(command)}\nits JSON has no numbers `runs` and `unresolved`")
    return {
        "runs": int(answer["runs"]),
        "finished": finished,
        "seconds": seconds,
        "seconds_per_finished_run": seconds / finished if finished else None,
    }


def peer(name, options, directory):
    command = [sys.executable, str(HERE / f"{name}_peer.py"), *sizes(options)]
    for option in ("batch", "share", "tolerance", "step"):
        command += [f"--{option}", str(getattr(options, option))]
    return call(command, directory)[1]


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"processor": model, "cores": os.cpu_count(), "system": platform.system()}


def load():
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def table(best, every):
    rows = [("", "runs", "finished", "seconds", "ms per finished run", "largest", "ratio to committee")]
    unit = best.get(OURS, {}).get("seconds_per_finished_run")
    for name, line in best.items():
        value = line["seconds_per_finished_run"]
        rows.append(
            (
                name,
                str(line["runs"]),
                str(line["finished"]),
                f"{line['seconds']:.3f}",
                f"{1e3 * value:.4f}",
                f"{1e3 * max(every[name]):.4f}",
                f"{value / unit:.2f}" if unit else "-",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:])), sep="  ")


def main():
    options = arguments()
    before = load()
    if before is not None and before > 0.3:
        print(f"warning: load average {before:.2f}; times are only meaningful on an idle machine", file=sys.stderr)
    if OURS in options.only and not pathlib.Path(options.committee).is_file():
        sys.exit(f"no program at {options.committee}: build it with `cargo build --release`, or pass --committee")

    best, every = {}, {name: [] for name in options.only}
    with tempfile.TemporaryDirectory() as directory:
        for round_ in range(options.repeats):
            for name in options.only:
                line = ours(options, directory) if name == OURS else peer(name, options, directory)
                value = line["seconds_per_finished_run"]
                if value is None:
                    sys.exit(f"{name} finished no run")
                every[name].append(value)
                if value == min(every[name]):
                    best[name] = line
                print(f"round {round_ + 1}: {name} {1e3 * value:.4f} ms per finished run", file=sys.stderr, flush=True)

    table(best, every)
    if options.json:
        unit = best.get(OURS, {}).get("seconds_per_finished_run")
        result = {
            "problem": {name: getattr(options, name) for name in ("students", "teachers", "dimension", "seed")},
            "peers": {name: getattr(options, name) for name in ("batch", "share", "tolerance", "step")},
            "repeats": options.repeats,
            "machine": {**machine(), "load_before": before},
            "best": best,
            "seconds_per_finished_run": every,
            "ratio_to_committee": {
                name: line["seconds_per_finished_run"] / unit for name, line in best.items() if name != OURS and unit
            },
        }
        pathlib.Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
