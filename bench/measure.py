"""The parts of a case, and how it is measured."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from functools import cached_property
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))

# One job and its sides, the yardstick first. `unit` is that of their figures. If `discard` is set, results are compared in
# the warm-up round and discarded in the others, since they are many bytes.
Case = namedtuple("Case", "name title unit sides bars")
# A program that does the job: `run(warm_up)` does it once and returns a `Sample`.
Side = namedtuple("Side", "name run")
# A figure; a digest of the results if they must equal those of the other sides; microseconds of
# processor time per item, over all processes, if known.
Sample = namedtuple("Sample", "value digest cpu", defaults=(None, None))
# A requirement: the figure of `of` is at least `need` times that of `to`, multiplied by `times`; with `most`, at most.
# Without a `to`, the requirement is on the figure of `of` itself.
Bar = namedtuple("Bar", "of to need times most", defaults=(1, False))


class LeftOut(Exception):
    """A case cannot be run on this machine; the message says why, and what to do about it."""


# ---- what cases are made of ------------------------------------------------------------------------------------------


class Bench:
    """The programs, a folder for files, the number of workers, and the share of the full size to run."""

    def __init__(self, programs, guests, tools, folder, workers, scale):
        self.guests = guests
        self.tools = tools
        self.folder = folder
        names = ["wasmpool", "wasmpool-limit", "wasmpool-bench-pool"]
        self.program, self.limit_program, self.pool_program = (self.installed(os.path.join(programs, name)) for name in names)
        # The command without the feature `hosts`, where it was built.
        without_hosts = os.path.join(programs, "wasmpool-without-hosts")
        self.without_hosts = self.installed(without_hosts) if os.path.isfile(without_hosts) else None
        self.workers = workers
        self.scale = scale

    def scaled(self, count, least=1):
        return max(least, round(count * self.scale))

    # Files.

    def installed(self, program):
        """Returns a copy of a program, as there is one wherever it is installed. The kernel keeps a file that a linker has written in
        smaller pieces than one that was copied, and starts it more slowly."""
        os.makedirs(self.path("bin"), exist_ok=True)
        return shutil.copy(program, self.path("bin"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def guest(self, name):
        path = os.path.join(self.guests, f"{name}.wasm")
        if not os.path.isfile(path):
            raise LeftOut(f"there is no guest {path}; `make guests` builds it")
        return path

    def lines(self, name, items):
        """Writes a file with an item on each line."""
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.writelines(f"{item}\n" for item in items)
        return file.name

    @property
    def spin(self):
        """Returns a guest whose item says how often its loop runs."""
        return os.path.join(HERE, "spin.wat")

    @cached_property
    def rounds_per_microsecond(self):
        rounds, count = 1_000_000, 100
        limit = self.limit("", self.spin, "spin", self.lines("calibration", [rounds] * count), "worker")
        # The minimum of several processor times, since other load only slows.
        return rounds / min(limit.run(False).cpu for _ in range(5))

    # Sides. Items per second are those of the whole run, from the start of the first process to the end of the last;
    # except for the limit, which reports the rate of its loop alone.

    def wasmpool(self, name, items, source, guest, *options, workers=None, discard=False, compare=True):
        command = [self.program, "map", guest, "-j", str(workers or self.workers), *options]
        return self.command(name, items, source, command, discard, compare)

    def python(self, job, items, source, discard=False):
        command = [sys.executable, os.path.join(HERE, "yardstick.py"), job, str(self.workers)]
        return self.command("Python multiprocessing.Pool", items, source, command, discard)

    def command(self, name, items, source, command, discard=False, compare=True):
        def run(warm_up):
            wall, cpu, digest = self.timed(command, source, discard and not warm_up)
            return Sample(items / wall, digest if compare else None, cpu / items * 1e6)

        return Side(name, run)

    def limit(self, name, guest, function, source, isolate, threads=1, bytes=False):
        stem = os.path.splitext(os.path.basename(guest))[0]
        command = [self.limit_program, guest, function, source, "--isolate", isolate, "--threads", str(threads)]
        return self.told(name, command + ["--artifact", self.path(f"{stem}.limit")] + ["--bytes"] * bytes)

    def told(self, name, command):
        """Returns a side that reports itself how long its loop took."""

        def run(_):
            said = json.loads(self.output(command))
            cpu = said["cpu_seconds"] / said["items"] * 1e6 if "cpu_seconds" in said else None
            return Sample(said["items"] / said["seconds"], None, cpu)

        return Side(name, run)

    # Running.

    @cached_property
    def environment(self):
        """Returns the user's environment without options of wasmpool, and with a cache of compiled tasks for this run alone."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WASMPOOL_")}
        return kept | {"WASMPOOL_CACHE_DIR": self.path("cache")}

    def output(self, command, text=None):
        """Returns what a command writes."""
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=self.environment)
        if done.returncode != 0:
            sys.exit(f"bench: this ended with {done.returncode}: {' '.join(command)}\n{done.stderr}")
        return done.stdout

    def timed(self, command, source, discard):
        """Runs a command once. Returns the seconds of wall time from the start of its first process to the end of its last, the
        processor time of all its processes, and a digest of what it wrote."""
        written = os.devnull if discard else self.path("output")
        with open(source, "rb") as stdin, open(written, "wb") as stdout, open(self.path("stderr"), "w+b") as stderr:
            start = time.perf_counter()
            process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=self.environment)
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                stderr.seek(0)
                why = stderr.read().decode(errors="replace")
                sys.exit(f"bench: this ended with {process.returncode}: {' '.join(command)}\n{why}")
        digest = None
        if not discard:
            with open(written, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        return wall, used.ru_utime + used.ru_stime, digest

    def latency(self, command):
        """Returns the seconds from the start of a command to its end."""
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        taken = time.perf_counter() - start
        if done.returncode != 0:
            sys.exit(f"bench: this ended with {done.returncode}: {' '.join(command)}\n{done.stderr}")
        return taken


# ---- measuring -------------------------------------------------------------------------------------------------------


def measure(case, rounds):
    """Returns the samples of each side. The first round warms caches up and is not counted."""
    samples = {side.name: [] for side in case.sides}
    digests = set()
    for number in range(rounds + 1):
        # Every round begins with another side, so that none always follows the same one.
        turn = number % len(case.sides)
        for side in case.sides[turn:] + case.sides[:turn]:
            sample = side.run(number == 0)
            what = "warm-up" if number == 0 else f"round {number} of {rounds}"
            print(f"  {case.name}, {what}: {side.name}: {sample.value:,.4g} {case.unit}", file=sys.stderr, flush=True)
            if sample.digest is not None:
                digests.add(sample.digest)
            if len(digests) > 1:
                sys.exit(f"bench: {case.name}: {side.name} wrote other results than those before it")
            if number > 0:
                samples[side.name].append(sample)
    return samples


def judged(case, samples):
    """Returns the case's figures and bars as plain data, for the table, the plot and the file."""
    values = {name: [sample.value for sample in some] for name, some in samples.items()}
    cpu = {name: [sample.cpu for sample in some if sample.cpu is not None] for name, some in samples.items()}
    sides = [
        {"name": name, "median": median(some), "all": some, "cpu_us": median(cpu[name]) if cpu[name] else None}
        for name, some in values.items()
    ]
    bars = []
    for bar in case.bars:
        # Ratios are taken within a round, whose sides ran under the same load.
        figures, by_cpu = values[bar.of], None
        if bar.to is not None:
            figures = [of / (bar.times * to) for of, to in zip(values[bar.of], values[bar.to])]
            if cpu[bar.of] and cpu[bar.to]:
                by_cpu = median(to / of for of, to in zip(cpu[bar.of], cpu[bar.to]))
        figure = median(figures)
        met = figure <= bar.need if bar.most else figure >= bar.need
        bars.append(bar._asdict() | {"figure": figure, "all": figures, "by_cpu": by_cpu, "met": met})
    return {"name": case.name, "title": case.title, "unit": case.unit, "sides": sides, "bars": bars}
