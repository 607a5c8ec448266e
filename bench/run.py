#!/usr/bin/env python3
"""Compares wasmpool with other programs that do the same jobs, in one run.

    python3 bench/run.py --programs target/dist --guests guest/target/wasm32-wasip2/release

A case is one job and the programs that do it: wasmpool and its yardsticks. They take turns, round after round, so that other load
on the machine affects all of them. The result is the median of the ratios within a round, since times cannot be compared between
machines. The yardsticks are

- Python's `multiprocessing` with `spawn` (yardstick.py for its Pool, shared_yardstick.py for what processes share);
- the limit: the same engine in a loop of one thread, without processes, JSON, order and output (the crate limit),
  multiplied by the number of workers; and the same with threads. Only the loop is timed, while wasmpool's time is that of
  the whole command, from its start to its end;
- the wasmtime command, and Dask (hosts_yardstick.py), if they were installed by `make bench-tools`.

Files: cases.py, shared_cases.py and hosts_cases.py have the cases (add a case there), measure.py measures them, report.py shows the results.
"""

import argparse
import fnmatch
import json
import os
import platform
import sys
import tempfile

sys.dont_write_bytecode = True

import report
from cases import CASES
from measure import HERE, Bench, LeftOut, judged, measure

TARGET = os.path.join(os.path.dirname(HERE), "target")
CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")


def named(pattern):
    if found := fnmatch.filter(CASES, pattern):
        return found
    raise argparse.ArgumentTypeError(f"no case is called {pattern}; there are {', '.join(CASES)}")


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True, help="where wasmpool, wasmpool-limit and wasmpool-bench-pool are")
    parser.add_argument("--guests", required=True, help="the folder of built guests")
    parser.add_argument("--tools", default=os.path.join(CACHE, "wasmpool-bench"), help="where bench-tools puts things")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default 5)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="worker processes")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, for a quick look")
    parser.add_argument("--case", action="extend", type=named, help="only this one, or those of a pattern (may be given again)")
    parser.add_argument("--json", default=os.path.join(TARGET, "bench.json"), help="where the figures go")
    parser.add_argument("--svg", default=os.path.join(TARGET, "bench.svg"), help="where the plot goes")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds has to be at least 1")
    return chosen


def write(path, text):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main():
    chosen = options()
    with tempfile.TemporaryDirectory(prefix="wasmpool-bench-") as folder:
        places = [os.path.abspath(path) for path in (chosen.programs, chosen.guests, chosen.tools)]
        bench = Bench(*places, folder, chosen.workers, chosen.scale)
        figures = {
            "wasmpool": bench.output([bench.program, "--version"]).strip(),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "cpus": len(os.sched_getaffinity(0)),
            "workers": chosen.workers,
            "load_at_start": os.getloadavg()[0],
            "rounds": chosen.rounds,
            "scale": chosen.scale,
            "cases": [],
            "left_out": [],
        }
        print(f"{figures['wasmpool']}, {chosen.workers} workers on {figures['cpus']} CPUs, Python {figures['python']}")
        print(f"load average at the start: {figures['load_at_start']:.1f}")
        if figures["load_at_start"] > 0.5:
            print("the machine has other work: figures will scatter")
        for name, make in CASES.items():
            if chosen.case and name not in chosen.case:
                continue
            try:
                case = make(bench)
                figures["cases"].append(judged(case, measure(case, chosen.rounds)))
            except LeftOut as why:
                figures["left_out"].append({"name": name, "why": str(why)})
                print(f"\n{name} is left out: {why}")
                continue
            report.table(figures["cases"][-1])
            # After each case, so that an interrupted run has results, too.
            write(chosen.json, json.dumps(figures, indent=2) + "\n")
            write(chosen.svg, report.svg(figures))
    report.summary(figures)
    print(f"\nAll figures: {os.path.relpath(chosen.json)}; the plot: {os.path.relpath(chosen.svg)}")


if __name__ == "__main__":
    main()
