"""What processes share in Python's `multiprocessing`: prints the time of the loops alone, as JSON.

    python3 bench/shared_yardstick.py JOB COUNT [LENGTH|CAPACITY]...
"""

import json
import multiprocessing
import sys
import time

SPAWN = multiprocessing.get_context("spawn")


# ---- what the processes do -------------------------------------------------------------------------------------------


def timed(barrier, results, work, arguments):
    barrier.wait()
    start = time.perf_counter()
    work(*arguments)
    results.put(time.perf_counter() - start)


def add(value, count):
    for _ in range(count):
        with value.get_lock():
            value.value += 1


def add_by_manager(value, count):
    for _ in range(count):
        value.value += 1


def put(queue, count, length):
    message = b"m" * length
    for _ in range(count):
        queue.put(message)


def get(queue, count):
    for _ in range(count):
        queue.get()


def turns(lock, count):
    for _ in range(count):
        lock.acquire()
        lock.release()


def entries(shared, count):
    for n in range(count):
        shared["key"] = n
        shared["key"]


def append(shared, count):
    for n in range(count):
        shared.append(n)


def nothing():
    pass


# ---- jobs ------------------------------------------------------------------------------------------------------------


def measure(items, *works):
    """Runs each of these functions in a process of its own, and tells how long the last one took."""
    barrier, results = SPAWN.Barrier(len(works)), SPAWN.Queue()
    processes = [SPAWN.Process(target=timed, args=(barrier, results, work, rest)) for work, *rest in works]
    for process in processes:
        process.start()
    seconds = max(results.get() for _ in works)
    for process in processes:
        process.join()
    tell(items, seconds)


def tell(items, seconds):
    json.dump({"items": items, "seconds": seconds}, sys.stdout)


def job_value(count, by):
    value = SPAWN.Value("q", 0)
    measure(count * by, *[(add, value, count)] * by)
    if value.value != count * by:
        sys.exit(f"{value.value} in place of {count * by}")


def job_queue(count, length, capacity):
    queue = SPAWN.Queue(capacity)
    measure(count, (put, queue, count, length), (get, queue, count))


def job_lock(count):
    measure(count, (turns, SPAWN.Lock(), count))


def job_manager(count, what):
    with SPAWN.Manager() as manager:
        match what:
            case "value":
                measure(count, (add_by_manager, manager.Value("q", 0), count))
            case "dict":
                measure(count, (entries, manager.dict(), count))
            case "lock":
                measure(count, (turns, manager.Lock(), count))
            case "list":
                measure(count, (append, manager.list(), count))


def job_process(count):
    start = time.perf_counter()
    for _ in range(count):
        process = SPAWN.Process(target=nothing)
        process.start()
        process.join()
    tell(count, time.perf_counter() - start)


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    globals()[f"job_{job}"](*[int(text) if text.isdigit() else text for text in arguments])
