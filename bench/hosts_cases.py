"""The cases of runs over many hosts. All hosts, and the NATS server, are processes of this machine.

A run's time is that of `wasmpool map`, from its start to its end; hosts are there before, as they are when they serve. Its processor
time is that of everybody: `map`, hosts, their workers, and the server.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial

from measure import HERE, Bar, Case, LeftOut, Sample, Side

TICK = os.sysconf("SC_CLK_TCK")
LOCAL = "on one machine"
DASK_ITEM = "Dask, wasmtime run for each item"
DASK_CHUNK = "Dask, wasmtime run for each chunk of 2,000"


# ---- a server, and hosts ---------------------------------------------------------------------------------------------


def server_program():
    done = subprocess.run([os.path.join(HERE, "..", "tests", "third-party", "fetch"), "nats"], capture_output=True, text=True)
    if done.returncode != 0:
        raise LeftOut(f"there is no NATS server to be had: {done.stderr.strip()}")
    return os.path.join(done.stdout.split()[1], "nats-server")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, condition):
    until = time.monotonic() + 60
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"bench: waited in vain: {what}")
        time.sleep(0.005)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


@contextmanager
def ended_after(command, **options):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving(bench, hosts, workers):
    """Starts a server, and hosts of so many workers each. Returns the URL, and all processes."""
    port, storage = free_port(), bench.path("jetstream")
    url = f"nats://127.0.0.1:{port}"
    shutil.rmtree(storage, ignore_errors=True)
    command = [server_program(), "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", storage]
    with ended_after(command, stderr=subprocess.DEVNULL) as server:
        wait_for("the server answers", lambda: answers(port))
        everybody, open_hosts = [server], []
        try:
            for number in range(hosts):
                host = ended_after(
                    [bench.program, "serve", "--via", url, "--name", f"h{number}", "-j", str(workers)],
                    stderr=subprocess.DEVNULL, env=bench.environment,
                )
                everybody.append(host.__enter__())
                open_hosts.append(host)
            found = subprocess.run([bench.program, "hosts", "--via", url], capture_output=True, text=True, env=bench.environment)
            if len(found.stdout.splitlines()) != hosts:
                sys.exit(f"bench: not all hosts serve: {found.stdout}{found.stderr}")
            yield url, everybody
        finally:
            for host in open_hosts:
                host.__exit__(None, None, None)


def has_children(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="utf-8") as file:
                if file.read().strip():
                    return True
        except FileNotFoundError:
            # That thread has ended.
            pass
    return False


def used(processes):
    """Returns the processor time of processes and of their children that have ended, in seconds."""
    total = 0
    for process in processes:
        with open(f"/proc/{process.pid}/stat", encoding="utf-8", errors="replace") as file:
            total += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
    return total / TICK


def over_hosts(bench, name, items, source, hosts, workers, *arguments):
    """Returns a side that runs over hosts. Its figure is items per second."""

    def run(_):
        with serving(bench, hosts, workers) as (url, everybody):
            before = used(everybody)
            wall, cpu, digest = bench.timed([bench.program, "map", *arguments, "--via", url], source, False)
            wait_for("workers end", lambda: not any(has_children(host.pid) for host in everybody[1:]))
            cpu += used(everybody) - before
            return Sample(items / wall, digest, cpu / items * 1e6)

    return Side(name, run)


def on_one_machine(bench, items, source, workers, *arguments):
    return bench.command(LOCAL, items, source, [bench.program, "map", *arguments, "-j", str(workers)])


def added(bench, name, pairs, per, local, there):
    """Returns a side whose figure is the processor time that hosts and the server add, in microseconds per so many items."""

    def run(warm_up):
        differences = []
        for _ in range(1 if warm_up else pairs):
            one, other = local.run(warm_up), there.run(warm_up)
            if one.digest != other.digest:
                sys.exit(f"bench: {name}: hosts wrote other results than one machine")
            differences.append((other.cpu - one.cpu) * per)
        return Sample(sorted(differences)[len(differences) // 2])

    return Side(name, run)


# ---- cases -----------------------------------------------------------------------------------------------------------


def cost(bench):
    """What a run over hosts adds to one on one machine: for each chunk, and for each item of large chunks."""
    chunks, many = bench.scaled(20_000, least=200), bench.scaled(2_000_000, least=20_000)
    guest = bench.guest("square")
    small = bench.lines("small.jsonl", range(chunks))
    one = [guest, "--isolate", "worker", "-c", "1"]
    lines = bench.lines("lines.txt", (f"{n:059}" for n in range(many)))
    echo = [bench.guest("identity"), "-f", "echo-bytes", "--isolate", "worker", "--input-format", "lines"]
    echo += ["--output-format", "raw", "--delimiter", "newline", "-c", "2000"]
    chunk = added(
        bench, "a chunk", 3, 1,
        on_one_machine(bench, chunks, small, bench.workers, *one),
        over_hosts(bench, "", chunks, small, 2, max(1, bench.workers // 2), *one),
    )
    item = added(
        bench, "an item of 60 bytes", 3, 1,
        on_one_machine(bench, many, lines, bench.workers, *echo),
        over_hosts(bench, "", many, lines, 2, max(1, bench.workers // 2), *echo),
    )
    return Case(
        "hosts-cost",
        f"processor time that hosts and the server add, over {chunks:,} chunks of an item, and {many:,} items of 60 bytes in "
        "chunks of 2,000",
        "µs",
        [chunk, item],
        [Bar("a chunk", None, 250, most=True), Bar("an item of 60 bytes", None, 1.0, most=True)],
    )


def chunk_rate(bench):
    """How many chunks a second pass."""
    chunks = bench.scaled(30_000, least=200)
    source = bench.lines("small.jsonl", range(chunks))
    arguments = [bench.guest("square"), "--isolate", "worker", "-c", "1"]
    name = "two hosts"
    side = over_hosts(bench, name, chunks, source, 2, max(1, bench.workers // 2), *arguments)
    return Case("hosts-rate", f"{chunks:,} chunks of an item", "chunks/s", [side], [Bar(name, None, 3_000)])


def work(bench, microseconds, need):
    """The share of time that is left for work, with the same number of workers."""
    items = bench.scaled(8_000_000 / microseconds, least=400)
    rounds = round(bench.rounds_per_microsecond * microseconds)
    source = bench.lines("work.jsonl", [rounds] * items)
    arguments = [bench.spin, "--isolate", "worker"]

    def side(hosts):
        name = f"{hosts} hosts" if hosts > 1 else "1 host"
        return over_hosts(bench, name, items, source, hosts, 8 // hosts, *arguments)

    return Case(
        f"hosts-work-{microseconds}us",
        f"{items:,} items of {microseconds:,} µs, instance reused, 8 workers in all",
        "items/s",
        [on_one_machine(bench, items, source, 8, *arguments), side(1), side(2), side(4), side(8)],
        [Bar(f"{hosts} host{'s' * (hosts > 1)}", LOCAL, need) for hosts in (1, 2, 4, 8)],
    )


def dask(bench):
    """The same work by another scheduler for many machines: a task for each chunk, which runs the wasmtime command."""
    python = os.path.join(bench.tools, "venv", "bin", "python3")
    wasmtime = os.path.join(bench.tools, "bin", "wasmtime")
    if not os.path.isfile(wasmtime) or subprocess.run([python, "-c", "import distributed"], capture_output=True).returncode != 0:
        raise LeftOut("there is no wasmtime, or no Dask; `make bench-tools` installs both")
    items, few = bench.scaled(400_000, least=4_000), bench.scaled(2_000, least=200)
    guest = bench.guest("square")
    lines, some = bench.lines("many.jsonl", range(items)), bench.lines("few.jsonl", range(few))

    def yardstick(name, mode, guest, source):
        script = [python, os.path.join(HERE, "hosts_yardstick.py"), mode, wasmtime, bench.guest(guest), str(bench.workers)]
        return bench.told(name, [*script, bench.path("wasmtime-cache"), source])

    ours = over_hosts(bench, "wasmpool", items, lines, 2, max(1, bench.workers // 2), guest)
    return Case(
        "hosts-dask",
        f"square of {items:,} integers ({few:,} where each item is a process), by two hosts that are there before; "
        "wasmpool has an instance for each item",
        "items/s",
        [
            yardstick(DASK_ITEM, "item", "square", some),
            yardstick(DASK_CHUNK, "chunk", "square_batch", lines),
            Side(ours.name, lambda warm_up: ours.run(warm_up)._replace(digest=None)),
        ],
        [Bar("wasmpool", DASK_ITEM, 100), Bar("wasmpool", DASK_CHUNK, 1)],
    )


# ---- runs without hosts ----------------------------------------------------------------------------------------------

WITH, WITHOUT = "with the feature", "without it"


def both(bench, name, title, unit, figure, bars):
    other = bench.without_hosts
    if other is None:
        raise LeftOut("there is no wasmpool-without-hosts; `make bench-hosts` builds it")
    sides = [Side(WITHOUT, lambda _: Sample(figure(other))), Side(WITH, lambda _: Sample(figure(bench.program)))]
    return Case(name, title, unit, sides, bars)


def unused_start(bench):
    calls, guest = bench.scaled(40, least=5), bench.guest("square")

    def figure(program):
        times = sorted(bench.latency([program, "call", guest, "square", "12"]) for _ in range(calls))
        return times[len(times) // 2] * 1e3

    title = f"one call without hosts, cache warm, median of {calls}"
    return both(bench, "hosts-unused-start", title, "ms", figure, [Bar(WITH, WITHOUT, 1.03, most=True)])


def unused_memory(bench):
    """Peak memory, and threads, of a run that waits for its input."""
    guest = bench.guest("square")

    def looked_at(key, program):
        command = [program, "map", guest, "-j", "2"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bench.environment)
        process.stdin.write(b"3\n" * 1000)
        process.stdin.flush()
        for _ in range(1000):
            process.stdout.readline()
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
            [value] = [int(line.split()[1]) for line in file if line.startswith(key)]
        process.stdin.close()
        process.stdout.close()
        process.wait()
        return value

    threads = [looked_at("Threads", program) for program in (bench.program, bench.without_hosts) if program]
    title = f"peak memory of a run without hosts (threads: {' and '.join(map(str, threads))})"
    figure = lambda program: looked_at("VmHWM", program) / 1024
    return both(bench, "hosts-unused-memory", title, "MiB", figure, [Bar(WITH, WITHOUT, 1.03, most=True)])


def unused_calls(bench):
    """The system calls of a command and all its processes that do not depend on timing."""
    if shutil.which("strace") is None:
        raise LeftOut("there is no strace")
    guest = bench.guest("square")
    # Waiting and waking depend on who is first.
    timing = {"futex", "sched_yield", "restart_syscall", "epoll_wait", "ppoll", "poll", "clock_nanosleep", "rt_sigreturn", "madvise"}

    def figure(program):
        subprocess.run(
            ["strace", "-f", "-c", "-U", "calls,name", "-o", bench.path("calls"), program, "call", guest, "square", "12"],
            capture_output=True, env=bench.environment, check=True,
        )
        with open(bench.path("calls"), encoding="utf-8") as file:
            found = re.findall(r"^\s*(\d+) (\w+)\s*$", file.read(), re.MULTILINE)
        return sum(int(count) for count, name in found if name not in timing | {"total"})

    title = "system calls of one call without hosts, in all processes, but those of waiting"
    return both(bench, "hosts-unused-calls", title, "system calls", figure, [Bar(WITH, WITHOUT, 1.01, most=True)])


def unused_size(bench):
    """What the feature adds to the binary, without symbols."""

    def size(program):
        subprocess.run(["strip", "-o", bench.path("stripped"), program], check=True)
        return os.path.getsize(bench.path("stripped")) / 1e6

    case = both(bench, "hosts-unused-size", "the binary, stripped", "MB", size, [])
    other = bench.without_hosts
    more = Side("the feature alone", lambda _: Sample(size(bench.program) - size(other)))
    return case._replace(sides=[*case.sides, more], bars=[Bar(more.name, None, 6, most=True)])


CASES = {
    "hosts-cost": cost,
    "hosts-rate": chunk_rate,
    "hosts-work-100us": partial(work, microseconds=100, need=0.90),
    "hosts-work-1000us": partial(work, microseconds=1000, need=0.97),
    "hosts-dask": dask,
    "hosts-unused-start": unused_start,
    "hosts-unused-memory": unused_memory,
    "hosts-unused-calls": unused_calls,
    "hosts-unused-size": unused_size,
}
