#!/usr/bin/env python3
"""wasmpool beside Python's multiprocessing.Pool, doing the same jobs in one run.

    python3 bench/run.py --bin target/release/wasmpool --guests guest/target/wasm32-wasip2/release

A case is one job and those who do it. They take turns, round after round, so that whatever else the machine does
meets all of them. Each is timed from the start of its first process to the end of its last, reads the same file and
writes one; the files have to be equal. What counts is the ratio of the medians within one run: times do not carry
from one machine to another.

To add a case, write a function that returns a `Case` and put it into `CASES`.
"""

# The processes of Python's pool import this file when they start, which is part of what is measured. So what only the
# benchmark itself needs is imported where it is used.
import json
import multiprocessing
import os
import sys
from collections import namedtuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# A job. `input` is the file that all read; `items` is what is in it; the first of `runners` is the yardstick.
Case = namedtuple("Case", "name title items input runners")
# Somebody who does it: `command` reads the input from standard input and writes the results to standard output.
Runner = namedtuple("Runner", "name command")
# One run: seconds of wall time, seconds of processor time of all its processes, and a hash of what it wrote.
Run = namedtuple("Run", "wall cpu digest")


# ---- cases -----------------------------------------------------------------------------------------------------------


def square(bench):
    """The square of a million JSON integers: next to no work, so all that is measured is the handing over."""
    items = max(1, round(1_000_000 * bench.scale))
    single, batch = bench.guest("square"), bench.guest("square_batch")
    return Case(
        name="square",
        title=f"square of {items:,} JSON integers",
        items=items,
        input=bench.file("integers.jsonl", (f"{n}\n" for n in range(1, items + 1))),
        runners=[
            bench.python("square"),
            Runner("wasmpool --isolate worker", bench.map(single, "--isolate", "worker")),
            Runner("wasmpool --isolate item (default)", bench.map(single)),
            Runner("wasmpool --batch --isolate worker", bench.map(batch, "--batch", "--isolate", "worker")),
            Runner("wasmpool --batch", bench.map(batch, "--batch")),
        ],
    )


CASES = [square]


# ---- what cases are made of ------------------------------------------------------------------------------------------


class Bench(namedtuple("Bench", "bin guests folder workers scale")):
    """The program, the folder of guests, a folder for files, worker processes, and the share of the full size to run."""

    __slots__ = ()

    def guest(self, name):
        path = os.path.join(self.guests, f"{name}.wasm")
        if not os.path.isfile(path):
            sys.exit(f"bench: there is no guest {path}; `make guests` builds it")
        return path

    def file(self, name, parts):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(parts)
        return path

    def map(self, guest, *options):
        return [self.bin, "map", guest, "-j", str(self.workers), *options]

    def python(self, function):
        command = [sys.executable, os.path.abspath(__file__), "--pool", function, "--workers", str(self.workers)]
        return Runner("Python multiprocessing.Pool", command)


# ---- the yardstick ---------------------------------------------------------------------------------------------------


def square_of_line(line):
    n = json.loads(line)
    return json.dumps(n * n)


POOL = {"square": square_of_line}


def pool(function, workers):
    """The same job, as somebody would write it with `multiprocessing`: JSON is read and written by the workers."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as processes:
        for result in processes.imap(POOL[function], sys.stdin, chunksize=1024):
            sys.stdout.write(result + "\n")


# ---- measuring -------------------------------------------------------------------------------------------------------


def timed(bench, case, runner):
    """Runs it once, from the start of its first process to the end of its last."""
    import hashlib
    import subprocess
    import time

    written = os.path.join(bench.folder, "output")
    said = os.path.join(bench.folder, "stderr")
    with open(case.input, "rb") as stdin, open(written, "wb") as stdout, open(said, "w+b") as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(runner.command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment(bench))
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            stderr.seek(0)
            why = stderr.read().decode(errors="replace")
            sys.exit(f"bench: {runner.name} ended with {process.returncode}: {' '.join(runner.command)}\n{why}")
    with open(written, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return Run(wall, used.ru_utime + used.ru_stime, digest)


def environment(bench):
    """The user's, but for what would change how wasmpool runs; compiled tasks are kept for this run alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WASMPOOL_")}
    return kept | {"WASMPOOL_CACHE_DIR": os.path.join(bench.folder, "cache")}


def measure(bench, case, rounds):
    """The runs of each runner. The first round warms caches up and is not counted."""
    runs = {runner.name: [] for runner in case.runners}
    outputs = set()
    for number in range(rounds + 1):
        # Every round begins with another, so that none always follows the same.
        turn = number % len(case.runners)
        for runner in case.runners[turn:] + case.runners[:turn]:
            what = "warm-up" if number == 0 else f"round {number} of {rounds}"
            run = timed(bench, case, runner)
            print(f"  {what}: {runner.name}: {run.wall:.2f} s", file=sys.stderr, flush=True)
            outputs.add(run.digest)
            if len(outputs) != 1:
                sys.exit(f"bench: {case.name}: {runner.name} wrote other results than those before it")
            if number > 0:
                runs[runner.name].append(run)
    return runs


def summary(case, runs):
    """Medians, and how they stand to the yardstick's."""
    from statistics import median

    wall = {name: median(run.wall for run in some) for name, some in runs.items()}
    yardstick = wall[case.runners[0].name]
    return [
        {
            "name": name,
            "wall_s": wall[name],
            "wall_s_all": [run.wall for run in some],
            "cpu_s": median(run.cpu for run in some),
            "items_per_s": case.items / wall[name],
            "ratio": yardstick / wall[name],
        }
        for name, some in runs.items()
    ]


def table(case, rows):
    heads = ["", "wall s", "min–max", "cpu s", "items/s", "ratio"]
    lines = [
        [
            row["name"],
            f"{row['wall_s']:.3f}",
            f"{min(row['wall_s_all']):.3f}–{max(row['wall_s_all']):.3f}",
            f"{row['cpu_s']:.3f}",
            f"{row['items_per_s']:,.0f}",
            f"{row['ratio']:.1f}×",
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    print(f"\n{case.title} (medians; ratio to {rows[0]['name']})\n")
    for line in [heads, ["-" * width for width in widths], *lines]:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def options():
    import argparse

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [case.__name__ for case in CASES]
    parser.add_argument("--bin", help="the wasmpool program")
    parser.add_argument("--guests", help="the folder of built guests")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default 5)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="worker processes")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, for a quick look")
    parser.add_argument("--case", action="append", choices=names, help="only this one (may be given again)")
    parser.add_argument("--json", default=os.path.join(ROOT, "target", "bench.json"), help="where the figures go")
    parser.add_argument("--pool", choices=list(POOL), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.pool is None and (chosen.bin is None or chosen.guests is None):
        parser.error("--bin and --guests are needed")
    if chosen.rounds < 1:
        parser.error("--rounds has to be at least 1")
    return chosen


def main():
    chosen = options()
    if chosen.pool is not None:
        return pool(chosen.pool, chosen.workers)

    import platform
    import subprocess
    import tempfile

    program = os.path.abspath(chosen.bin)
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    figures = {
        "wasmpool": version,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)),
        "workers": chosen.workers,
        "load_at_start": os.getloadavg()[0],
        "rounds": chosen.rounds,
        "scale": chosen.scale,
        "cases": [],
    }
    print(f"{version} and Python {figures['python']}, {chosen.workers} workers each on {figures['cpus']} CPUs")
    if figures["load_at_start"] > 0.5:
        print(f"the machine has other work (load {figures['load_at_start']:.1f}): wall times will scatter")
    with tempfile.TemporaryDirectory(prefix="wasmpool-bench-") as folder:
        bench = Bench(program, os.path.abspath(chosen.guests), folder, chosen.workers, chosen.scale)
        for make in CASES:
            if chosen.case and make.__name__ not in chosen.case:
                continue
            case = make(bench)
            rows = summary(case, measure(bench, case, chosen.rounds))
            table(case, rows)
            figures["cases"].append({"name": case.name, "title": case.title, "items": case.items, "runners": rows})
    os.makedirs(os.path.dirname(os.path.abspath(chosen.json)), exist_ok=True)
    with open(chosen.json, "w", encoding="utf-8") as file:
        json.dump(figures, file, indent=2)
        file.write("\n")
    print(f"\nAll figures: {os.path.relpath(chosen.json)}")


if __name__ == "__main__":
    main()
