"""Squares numbers over two hosts of this machine, each item in an instance of its own: Ray, with wasmtime's package in its workers.

    python3 bench/setup/ray_setup.py TASK NUMBERS

TASK is a core module that exports `square`. What it does not have, and `wasmpool` has: limits of time and memory of an item, a
sandbox round the engine, results before all are there, and a journal.
"""

import sys


def main(task, numbers):
    # <set-up>
    import os
    import subprocess

    import ray

    @ray.remote
    def squares(wasm, items):
        import wasmtime

        engine = wasmtime.Engine()
        module = wasmtime.Module(engine, wasm)
        results = []
        for item in items:
            store = wasmtime.Store(engine)
            square = wasmtime.Instance(store, module, []).exports(store)["square"]
            results.append(square(store, item))
        return results

    start = [os.path.join(os.path.dirname(sys.executable), "ray"), "start", "--num-cpus", "2", "--disable-usage-stats"]
    head = [*start, "--head", "--port", "6379", "--include-dashboard", "false"]
    for command in (head, [*start, "--address", "127.0.0.1:6379"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(task, "rb") as file:
        wasm = file.read()
    with open(numbers, encoding="utf-8") as file:
        items = [int(line) for line in file]
    ray.init(address="127.0.0.1:6379", log_to_driver=False, logging_level="error")
    chunks = [items[at : at + 2_000] for at in range(0, len(items), 2_000)]
    for results in ray.get([squares.remote(wasm, chunk) for chunk in chunks]):
        print(*results, sep=os.linesep)
    # </set-up>
    ray.shutdown()
    subprocess.run([*start[:1], "stop"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(*sys.argv[1:])
