"""The same jobs, written with Python's `multiprocessing`.

    python3 bench/yardstick.py JOB WORKERS < input > output
    python3 bench/yardstick.py map WORKERS INPUT

The processes of a pool import this file when they start, which is part of the measured time: so it imports little.
"""

import json
import multiprocessing
import sys

# `spawn` is the same on all systems, and the only method by which a worker does not share its parent's memory.
SPAWN = multiprocessing.get_context("spawn")


# ---- what the workers do ---------------------------------------------------------------------------------------------


def square(line):
    n = json.loads(line)
    return json.dumps(n * n)


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def fib_of_line(line):
    return json.dumps(fib(json.loads(line)))


def identity(item):
    return item


def answer(connection):
    connection.send(square(connection.recv()))


# ---- jobs ------------------------------------------------------------------------------------------------------------


def job_square(workers):
    with SPAWN.Pool(workers) as pool:
        for result in pool.imap(square, sys.stdin, chunksize=1024):
            sys.stdout.write(result + "\n")


def job_fib(workers):
    with SPAWN.Pool(workers) as pool:
        for result in pool.map(fib_of_line, sys.stdin):
            sys.stdout.write(result + "\n")


def job_identity(workers):
    """Items are bytes that each end with a NUL."""
    items = sys.stdin.buffer.read().split(b"\0")[:-1]
    with SPAWN.Pool(workers) as pool:
        for result in pool.map(identity, items):
            sys.stdout.buffer.write(result + b"\0")


def job_map(workers, path):
    """The same in a program that already has the items and the pool: prints the time of the call alone, as JSON."""
    import time

    with open(path, "rb") as file:
        items = file.read().split(b"\0")[:-1]
    with SPAWN.Pool(workers) as pool:
        pool.map(identity, items[:100])
        start = time.perf_counter()
        results = pool.map(identity, items)
        seconds = time.perf_counter() - start
    if [len(result) for result in results] != [len(item) for item in items]:
        sys.exit("items came back as others")
    json.dump({"items": len(items), "seconds": seconds}, sys.stdout)


def job_once(workers):
    """A process for each item."""
    with SPAWN.Pool(workers, maxtasksperchild=1) as pool:
        for result in pool.imap(square, sys.stdin):
            sys.stdout.write(result + "\n")


def job_fresh(_workers):
    """A new process for each line: prints the seconds from its start to its answer."""
    import time

    for line in sys.stdin:
        ours, theirs = SPAWN.Pipe()
        start = time.perf_counter()
        process = SPAWN.Process(target=answer, args=(theirs,))
        process.start()
        ours.send(line)
        ours.recv()
        print(time.perf_counter() - start)
        process.join()


if __name__ == "__main__":
    globals()[f"job_{sys.argv[1]}"](int(sys.argv[2]), *sys.argv[3:])
