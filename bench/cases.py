"""The cases that are measured.

To add a case, write a function that takes a `Bench` and returns a `Case` (see measure.py for both), and put it into
`CASES` at the end. If it needs something that is missing, it raises `LeftOut` with a message that says how to get it.
"""

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from statistics import median

import hosts_cases
import shared_cases
from measure import HERE, Bar, Case, LeftOut, Sample, Side

PYTHON = "Python multiprocessing.Pool"
LIMIT = "limit: a loop in one thread"
THREADS = "threads in one process"


# ---- the cost of passing items ---------------------------------------------------------------------------------------


def square(bench):
    """Items with next to no work: measures the cost of passing them."""
    items = bench.scaled(1_000_000)
    source = bench.lines("integers.jsonl", range(1, items + 1))
    single, batch = bench.guest("square"), bench.guest("square_batch")
    return Case(
        "square",
        f"square of {items:,} JSON integers",
        "items/s",
        [
            bench.python("square", items, source),
            bench.wasmpool("wasmpool --isolate worker", items, source, single, "--isolate", "worker"),
            bench.wasmpool("wasmpool --batch --isolate worker", items, source, batch, "--batch", "--isolate", "worker"),
            bench.wasmpool("wasmpool --batch", items, source, batch, "--batch"),
            bench.limit(LIMIT, single, "square", source, "worker"),
        ],
        [
            Bar("wasmpool --isolate worker", PYTHON, 10),
            Bar("wasmpool --batch --isolate worker", PYTHON, 20),
        ],
    )


def pristine(bench):
    """Pristine memory for each item, as by default: no item sees what another left behind."""
    items = bench.scaled(500_000)
    source = bench.lines("pristine.jsonl", range(1, items + 1))
    guest = bench.guest("square")
    return Case(
        "pristine",
        f"square of {items:,} JSON integers, each in an instance of its own",
        "items/s",
        [
            bench.limit(LIMIT, guest, "square", source, "item"),
            bench.limit(THREADS, guest, "square", source, "item", threads=bench.workers),
            bench.python("square", items, source),
            bench.wasmpool("wasmpool --isolate worker", items, source, guest, "--isolate", "worker"),
            bench.wasmpool("wasmpool", items, source, guest),
        ],
        [
            Bar("wasmpool", LIMIT, 5, times=bench.workers),
            Bar("wasmpool", PYTHON, 5),
            Bar("wasmpool", "wasmpool --isolate worker", 0.4),
        ],
    )


def traces(bench, function, name):
    """Items that leave much behind, or what cannot be restored: never slower than with a new instance for each."""
    items = bench.scaled(100_000)
    source = bench.lines("traces.jsonl", range(1, items + 1))
    call = [bench.program, "map", os.path.join(HERE, "traces.wat"), "-f", function, "-j", str(bench.workers)]
    new = "wasmpool, new instances"
    return Case(
        f"traces-{name}",
        f"{items:,} items that leave traces ({name}), each in pristine memory",
        "items/s",
        [
            bench.command(new, items, source, ["env", "WASMPOOL_RESTORE=0", *call]),
            bench.command("wasmpool", items, source, call),
        ],
        # As much as two measurements of the same differ by.
        [Bar("wasmpool", new, 0.97)],
    )


def process_per_item(bench):
    """The way of a shell script: the wasmtime command for each item, with its cache on."""
    wasmtime = wasmtime_run(bench)
    items, few = bench.scaled(500_000), bench.scaled(400, least=20)
    source = bench.lines("pristine.jsonl", range(1, items + 1))
    some = bench.lines("some.txt", range(1, few + 1))
    guest = bench.guest("square")
    xargs = ["xargs", "-P", str(bench.workers), "-I{}", *wasmtime, "--invoke", "square({})", guest]
    return Case(
        "process-per-item",
        f"square of integers, each in an instance of its own; {items:,} items, and {few:,} for xargs",
        "items/s",
        [
            # Results come as they finish, so not in the order of the others.
            bench.command("xargs wasmtime run", few, some, xargs, compare=False),
            bench.wasmpool("wasmpool", items, source, guest),
        ],
        [Bar("wasmpool", "xargs wasmtime run", 400)],
    )


def scripts(bench):
    """An interpreter as a command, pristine for every script."""
    wasmtime = wasmtime_run(bench)
    interpreter = build_interpreter(bench)
    items, few = bench.scaled(10_000, least=100), bench.scaled(200, least=10)
    folder = bench.path("scripts")
    os.makedirs(folder, exist_ok=True)
    paths = [os.path.join(folder, f"{index}.js") for index in range(items)]
    for index, path in enumerate(paths):
        with open(path, "w", encoding="utf-8") as file:
            # An item would see what another left behind.
            file.write(f"if (globalThis.mine !== undefined) throw 'seen'; globalThis.mine = {index}; print(mine ** 2);")
    source, some = bench.lines("scripts.txt", paths), bench.lines("some-scripts.txt", paths[:few])
    shell = ["sh", "-c", shlex.join([*wasmtime, interpreter]) + ' < "$0"', "{}"]
    options = ["exec", interpreter, "-j", str(bench.workers), "--input-format", "files"]
    return Case(
        "scripts",
        f"small scripts, each in a QuickJS of its own; {items:,} scripts, and {few:,} for xargs",
        "items/s",
        [
            # Results come as they finish, so not in the order of the others.
            bench.command("xargs wasmtime run", few, some, ["xargs", "-P", str(bench.workers), "-I{}", *shell], compare=False),
            bench.command("wasmpool exec", items, source, [bench.program, *options]),
        ],
        [Bar("wasmpool exec", "xargs wasmtime run", 100)],
    )


def work(bench, microseconds, need):
    """Items with some work: measures the share of time that is left for it."""
    items = bench.scaled(8_000_000 / microseconds, least=100)
    rounds = round(bench.rounds_per_microsecond * microseconds)
    source = bench.lines("work.jsonl", [rounds] * items)
    # A rate needs no more items.
    fewer = bench.lines("fewer.jsonl", [rounds] * max(50, items // 4))
    return Case(
        f"work-{microseconds}us",
        f"{items:,} items of {microseconds:,} µs, instance reused (a quarter of them for the limit)",
        "items/s",
        [
            bench.limit(LIMIT, bench.spin, "spin", fewer, "worker"),
            bench.limit(THREADS, bench.spin, "spin", fewer, "worker", threads=bench.workers),
            bench.wasmpool("wasmpool --isolate worker", items, source, bench.spin, "--isolate", "worker"),
        ],
        [Bar("wasmpool --isolate worker", LIMIT, need, times=bench.workers)],
    )


def identity(bench, size, name, share, need):
    """Items of distinct bytes that are returned unchanged."""
    count = bench.scaled((512 << 20) / size, least=8)
    source = bench.path("bytes")
    with open(source, "wb") as file:
        for _ in range(count):
            file.write(os.urandom(size - 1).replace(b"\0", b"\1") + b"\n\0")
    guest = bench.guest("identity")
    api = [bench.pool_program, guest, "echo-bytes", source, str(bench.workers)]
    options = ["-f", "echo-bytes", "--isolate", "worker", "--input-format", "nul", "--output-format", "raw"]
    return Case(
        f"bytes-{name}",
        f"{count:,} times {name} of distinct bytes, identity, instance reused",
        "items/s",
        [
            bench.limit(LIMIT, guest, "echo-bytes", source, "worker", bytes=True),
            bench.limit(THREADS, guest, "echo-bytes", source, "worker", threads=bench.workers, bytes=True),
            # The call alone, in a program that already has its items and its pool, and the whole program.
            bench.told(f"{PYTHON}, the call", [sys.executable, os.path.join(HERE, "yardstick.py"), "map", str(bench.workers), source]),
            bench.told("wasmpool::Pool, the call", api),
            bench.python("identity", count, source, discard=True),
            bench.command("wasmpool::Pool, the program", count, source, api, compare=False),
            bench.wasmpool(
                "wasmpool map", count, source, guest, *options, "--delimiter", "nul", discard=True, compare=False
            ),
        ],
        [
            Bar("wasmpool::Pool, the call", LIMIT, share, times=bench.workers),
            Bar("wasmpool::Pool, the call", f"{PYTHON}, the call", need),
            Bar("wasmpool::Pool, the program", PYTHON, need),
        ],
    )


def fib(bench):
    """Work that Python does itself: measures the gain of compiled code."""
    items = bench.scaled(200, least=8)
    source = bench.lines("fib.jsonl", [27] * items)
    return Case(
        "fib",
        f"fib(27), {items:,} times",
        "items/s",
        [bench.python("fib", items, source), bench.wasmpool("wasmpool", items, source, bench.guest("fib"))],
        [Bar("wasmpool", PYTHON, 30)],
    )


def python_guest(bench):
    """A guest of 18 MB, with thousands of pages to reset for each item."""
    guest = build_python_guest(bench)
    items, few = bench.scaled(20_000, least=100), bench.scaled(4_000, least=20)
    source = bench.lines("integers.jsonl", range(1, items + 1))
    # A rate needs no more items, and loading the task is not counted there.
    fewer = bench.lines("fewer.jsonl", range(1, few + 1))
    return Case(
        "python-guest",
        f"square of {items:,} integers by a guest in Python, each in an instance of its own ({few:,} for the limit)",
        "items/s",
        [
            bench.limit(LIMIT, guest, "square", fewer, "item"),
            bench.limit(THREADS, guest, "square", fewer, "item", threads=bench.workers),
            bench.wasmpool("wasmpool", items, source, guest),
        ],
        [Bar("wasmpool", LIMIT, 12, times=bench.workers)],
    )


def workers(bench):
    """More workers than processors."""
    items = bench.scaled(80_000, least=500)
    rounds = round(bench.rounds_per_microsecond * 100)
    source = bench.lines("work.jsonl", [rounds] * items)

    def side(count):
        return bench.wasmpool(f"-j {count}", items, source, bench.spin, "--isolate", "worker", workers=count)

    return Case(
        "workers",
        f"{items:,} items of 100 µs, instance reused, by so many workers",
        "items/s",
        [side(2), side(1), side(8), side(32), side(128)],
        [Bar("-j 32", "-j 2", 0.9), Bar("-j 128", "-j 2", 0.8)],
    )


# ---- starting --------------------------------------------------------------------------------------------------------


def cold(bench):
    """One call, from nothing to its result; what was compiled before is found in both caches."""
    calls = bench.scaled(20, least=3)
    guest = bench.guest("square")
    call = [bench.program, "call"]
    arguments = [guest, "square", "12"]
    return Case(
        "cold",
        f"one call by a command of its own, cache warm, median of {calls}",
        "ms",
        [
            each(bench, "wasmtime run", calls, [*wasmtime_run(bench), "--invoke", "square(12)", guest]),
            each(bench, "wasmpool call", calls, [*call, *arguments]),
            each(bench, "wasmpool call --sandbox off", calls, [*call, "--sandbox", "off", *arguments]),
        ],
        [Bar("wasmpool call", "wasmtime run", 1.1, most=True)],
    )


def each(bench, name, calls, command):
    return Side(name, lambda _: Sample(median(bench.latency(command) for _ in range(calls)) * 1e3))


def sandbox(bench):
    """The cost of the sandbox for each worker that starts."""
    pairs = bench.scaled(50, least=3)

    def call(mode):
        return bench.latency([bench.program, "call", "--sandbox", mode, bench.spin, "spin", "1"])

    def run(_):
        return Sample(median(call("strict") - call("off") for _ in range(pairs)) * 1e3)

    side = Side("strict − off", run)
    return Case(
        "sandbox",
        f"start-up of a worker: what `--sandbox strict` adds to a call, median of {pairs} pairs",
        "ms",
        [side],
        [Bar(side.name, None, 2.0, most=True)],
    )


def once(bench):
    """A worker process for each item."""
    many, few = bench.scaled(1_000, least=20), bench.scaled(60, least=4)
    return Case(
        "once",
        f"a worker process for each item; {many:,} items, and {few:,} for Python",
        "items/s",
        [
            Side(PYTHON, alone(bench.python("once", few, bench.lines("few.jsonl", range(1, few + 1))))),
            Side("wasmpool", alone(bench.wasmpool(
                "wasmpool", many, bench.lines("many.jsonl", range(1, many + 1)), bench.guest("square"),
                "--max-items-per-worker", "1",
            ))),
        ],
        [Bar("wasmpool", PYTHON, 6)],
    )


def alone(side):
    """Returns a side without its digest: its results differ, since its items do."""
    return lambda warm_up: side.run(warm_up)._replace(digest=None)


def replacement(bench):
    """The time from killing a worker for an item until its replacement has answered the next."""
    times = bench.scaled(20, least=3)
    lines = bench.lines("fresh.jsonl", range(times))
    python = [sys.executable, os.path.join(HERE, "yardstick.py"), "fresh", "1"]

    def fresh(_):
        with open(lines, encoding="utf-8") as file:
            said = bench.output(python, file.read())
        return Sample(median(float(line) for line in said.split()) * 1e3)

    def killed(_):
        return Sample(median(time_of_replacement(bench) for _ in range(times)) * 1e3)

    return Case(
        "replacement",
        f"from the end of a worker to the next item's answer, and that of a fresh Python process; median of {times}",
        "ms",
        [Side("fresh Python process", fresh), Side("wasmpool", killed)],
        [Bar("wasmpool", "fresh Python process", 1 / 6, most=True)],
    )


def time_of_replacement(bench):
    """Returns the seconds from killing a worker for an endless item to the answer of the item after it."""
    command = [bench.program, "map", bench.spin, "-j", "1", "-c", "1", "-q"]
    with running(bench, command) as process:
        process.stdin.write(b"1\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdin.write(b"1000000000000\n1\n")
        process.stdin.flush()
        # The item has begun once the worker computes.
        [worker] = children(process.pid)
        while processor_time(worker) < 2:
            time.sleep(0.005)
        start = time.perf_counter()
        os.kill(worker, 9)
        if not process.stdout.readline():
            sys.exit("bench: wasmpool ended when its worker was killed")
        return time.perf_counter() - start


# ---- memory ----------------------------------------------------------------------------------------------------------


def memory(bench):
    """The memory of the host at its peak, and of a worker that has run a small task."""
    items = bench.scaled(1_000_000)
    big = bench.scaled(256, least=4)
    guest = bench.guest("square")

    def host(_):
        lines = (f"{n}\n".encode() for n in range(1, items + 1))
        return Sample(resident(bench, [guest], lines, items)[0])

    def host_of_big(_):
        parts = (b"x" * ((1 << 20) - 1) + b"\n" for _ in range(big))
        identity = [bench.guest("identity"), "-f", "echo-bytes", "--input-format", "lines", "--output-format", "raw"]
        return Sample(resident(bench, identity, parts, big)[0])

    def worker(_):
        return Sample(resident(bench, [guest], (b"%d\n" % n for n in range(1000)), 1000)[1])

    return Case(
        "memory",
        f"peak of the host over {items:,} integers and {big} times 1 MiB; private memory of a worker of `square`",
        "MiB",
        [Side("host", host), Side("host, items of 1 MiB", host_of_big), Side("worker", worker)],
        [Bar("host", None, 32, most=True), Bar("worker", None, 12, most=True)],
    )


def resident(bench, arguments, parts, count):
    """Runs items. While the host still waits for more, returns its peak of memory and the private memory of the
    largest worker, in MiB."""
    command = [bench.program, "map", *arguments, "-j", str(bench.workers)]
    with running(bench, command) as process:

        def feed():
            for part in parts:
                process.stdin.write(part)
            process.stdin.flush()

        feeder = threading.Thread(target=feed)
        feeder.start()
        for _ in range(count):
            if not process.stdout.readline():
                sys.exit(f"bench: this ended too early: {' '.join(command)}")
        feeder.join()
        host = kibibytes(f"/proc/{process.pid}/status", "VmHWM")
        worker = max(kibibytes(f"/proc/{pid}/smaps_rollup", "Private_") for pid in children(process.pid))
        return host / 1024, worker / 1024


# ---- tools -----------------------------------------------------------------------------------------------------------


class running:
    """Runs a command with pipes to its standard streams, and ends it."""

    def __init__(self, bench, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=bench.environment
        )

    def __enter__(self):
        return self.process

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


def children(parent):
    """Returns the child processes: workers, if nothing is being compiled any more."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if status_of(name)[1] == str(parent):
                found.append(int(name))
        except OSError:
            continue
    return found


def status_of(pid):
    """Returns the fields of the process's stat line, from its state on."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def processor_time(pid):
    """Returns the processor time in clock ticks, usually hundredths of seconds."""
    fields = status_of(pid)
    return int(fields[11]) + int(fields[12])


def kibibytes(path, start):
    """Returns the sum of the lines that begin with `start`."""
    try:
        with open(path, encoding="utf-8") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(start))
    except PermissionError:
        raise LeftOut(f"{path} may be read by root alone") from None


def wasmtime_run(bench):
    """Returns the wasmtime command, with a cache of this run."""
    wasmtime = os.path.join(bench.tools, "bin", "wasmtime")
    if not os.path.isfile(wasmtime):
        raise LeftOut(f"there is no {wasmtime}; `make bench-tools` installs it")
    with open(bench.path("wasmtime.toml"), "w", encoding="utf-8") as file:
        file.write(f'[cache]\ndirectory = "{bench.path("wasmtime-cache")}"\n')
    return [bench.installed(wasmtime), "run", "-C", f"cache-config={file.name}"]


def build_python_guest(bench):
    guest = os.path.join(bench.tools, "square_python.wasm")
    sources = [os.path.join(HERE, "python-guest", name) for name in ("app.py", "square.wit")]
    if not os.path.isfile(guest) or os.path.getmtime(guest) < max(map(os.path.getmtime, sources)):
        componentize = os.path.join(bench.tools, "venv", "bin", "componentize-py")
        if not os.path.isfile(componentize):
            raise LeftOut(f"there is no {componentize}; `make bench-tools` installs it")
        # Built from a copy, since it leaves compiled files beside its sources.
        for source in sources:
            shutil.copy(source, bench.folder)
        command = [componentize, "-d", "square.wit", "-w", "square", "componentize", "app", "-o", guest]
        done = subprocess.run(command, cwd=bench.folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise LeftOut(f"componentize-py failed: {done.stderr.strip()}")
    return guest


def build_interpreter(bench):
    fetch = os.path.join(HERE, "..", "tests", "third-party", "fetch")
    done = subprocess.run([fetch, "quickjs"], capture_output=True, text=True)
    if done.returncode != 0:
        raise LeftOut(f"there is no QuickJS to be had: {done.stderr.strip()}")
    return os.path.join(done.stdout.split()[1], "quickjs.wasm")


CASES = {
    "square": square,
    "pristine": pristine,
    "traces-16-pages": partial(traces, function="pages16", name="16-pages"),
    "traces-64-pages": partial(traces, function="pages64", name="64-pages"),
    "traces-256-pages": partial(traces, function="pages256", name="256-pages"),
    "traces-grows": partial(traces, function="grows", name="grows"),
    "traces-prints": partial(traces, function="prints", name="prints"),
    "process-per-item": process_per_item,
    "scripts": scripts,
    "work-10us": partial(work, microseconds=10, need=0.90),
    "work-100us": partial(work, microseconds=100, need=0.97),
    "work-1000us": partial(work, microseconds=1000, need=0.98),
    "bytes-1KiB": partial(identity, size=1 << 10, name="1KiB", share=0.45, need=6),
    "bytes-1MiB": partial(identity, size=1 << 20, name="1MiB", share=0.5, need=4),
    "fib": fib,
    "cold": cold,
    "replacement": replacement,
    "once": once,
    "python-guest": python_guest,
    "memory": memory,
    "workers": workers,
    "sandbox": sandbox,
} | shared_cases.CASES | hosts_cases.CASES
