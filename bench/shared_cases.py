"""The cases of what tasks share: values, queues, dicts, locks and lists, and processes.

Only the loops are timed, in the processes that run them: starting them is the matter of other cases.
"""

import json
import os
import sys
from functools import partial

from measure import HERE, Bar, Case, Sample, Side

MANAGER = "Python Manager"


def yardstick(bench, name, *arguments):
    command = [sys.executable, os.path.join(HERE, "shared_yardstick.py"), *map(str, arguments)]
    return bench.told(name, command)


def shared(bench, items, share, *orders):
    """Returns a side that gives these orders to a worker each. Figures are by the time of the last one."""
    guest = bench.guest("shared")
    command = [bench.program, "map", guest, "-f", "act", "--input-format", "lines", "-c", "1", "-q", "--timeout", "1h"]
    command += ["-j", str(len(orders)), "--share", share, "--share", f"start=barrier:{len(orders)}"]
    text = "".join(f"meet start - ; timed {order}\n" for order in orders)

    def run(_):
        # Each line says the worker's number at the barrier, and nanoseconds.
        lines = bench.output(command, text).splitlines()
        if len(lines) != len(orders):
            sys.exit(f"bench: an order failed: {' '.join(command)}")
        return Sample(items / (max(int(json.loads(line).split()[-1]) for line in lines) / 1e9))

    return Side("wasmpool", run)


def value(bench):
    python, count, few = bench.scaled(1_000_000), bench.scaled(20_000_000), bench.scaled(5_000)
    return Case(
        "value",
        f"additions to a shared number by one process; {python:,} for Python, {few:,} for its manager, {count:,} for wasmpool",
        "additions/s",
        [
            yardstick(bench, "Python Value", "value", python, 1),
            yardstick(bench, MANAGER, "manager", few, "value"),
            shared(bench, count, "total=value:s64", f"count total {count}"),
        ],
        [Bar("wasmpool", "Python Value", 5), Bar("wasmpool", MANAGER, 500)],
    )


def value_by_two(bench):
    python, count = bench.scaled(300_000), bench.scaled(10_000_000)
    return Case(
        "value-by-two",
        f"additions to a shared number by two processes; {python:,} each for Python, {count:,} for wasmpool",
        "additions/s",
        [
            yardstick(bench, "Python Value", "value", python, 2),
            shared(bench, 2 * count, "total=value:s64", *[f"count total {count}"] * 2),
        ],
        [Bar("wasmpool", "Python Value", 10)],
    )


def queue(bench, capacity, length, name, count, need):
    """Bounded by nothing but memory if `capacity` is 0."""
    few, count = bench.scaled(count), bench.scaled(count * 3)
    share = f"jobs=queue:{capacity}:bytes=256MiB"
    return Case(
        f"queue-{name}",
        f"messages of {length:,} bytes from one process to another, capacity {capacity or 'unbounded'}",
        "messages/s",
        [
            yardstick(bench, "Python Queue", "queue", few, length, capacity),
            shared(bench, count, share, f"produce jobs {count} {length}", f"consume jobs {count}"),
        ],
        [Bar("wasmpool", "Python Queue", need)],
    )


def manager(bench, what, share, order, title):
    few, count = bench.scaled(10_000), bench.scaled(100_000)
    sides = [
        yardstick(bench, MANAGER, "manager", few, what),
        shared(bench, count, share, f"{order} {count}"),
    ]
    if what == "lock":
        # It costs no turn through a manager, and it stays locked for ever if its holder dies.
        sides.append(yardstick(bench, "Python multiprocessing.Lock", "lock", bench.scaled(1_000_000)))
    return Case(f"shared-{what}", title, "turns/s", sides, [Bar("wasmpool", MANAGER, 5)])


def process(bench):
    """A process for one call, from its start until it was waited for."""
    few, count = bench.scaled(30, least=3), bench.scaled(500, least=10)
    return Case(
        "process",
        f"processes one after the other, from start to exit; {few} for Python, {count} for wasmpool",
        "processes/s",
        [
            yardstick(bench, "Python Process", "process", few),
            bench.told("wasmpool::Process", [bench.pool_program, "process", bench.guest("square"), str(count)]),
        ],
        [Bar("wasmpool::Process", "Python Process", 10)],
    )


CASES = {
    "value": value,
    "value-by-two": value_by_two,
    "queue-unbounded": partial(queue, capacity=0, length=16, name="unbounded", count=200_000, need=3),
    "queue-100": partial(queue, capacity=100, length=16, name="100", count=100_000, need=3),
    "queue-1MiB": partial(queue, capacity=0, length=1 << 20, name="1MiB", count=400, need=2),
    "shared-dict": partial(
        manager, what="dict", share="seen=dict", order="entries seen", title="setting and getting an entry of a dict"
    ),
    "shared-lock": partial(
        manager, what="lock", share="gate=lock", order="turns gate", title="acquiring and releasing a lock nobody holds"
    ),
    "shared-list": partial(
        manager, what="list", share="all=list", order="pushes all", title="appending to a list"
    ),
    "process": process,
}
