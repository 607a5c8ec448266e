"""Squares numbers over two hosts of this machine, each item in an instance of its own: Dask, with wasmtime's package in its workers.

    python3 bench/setup/dask_setup.py TASK NUMBERS

TASK is a core module that exports `square`. What it does not have, and `wasmpool` has: limits of time and memory of an item, a
sandbox round the engine, results before all are there, and a journal.
"""

import sys


def main(task, numbers):
    # <set-up>
    import os
    import subprocess

    from distributed import Client

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

    python, address = [sys.executable, "-m"], "tcp://127.0.0.1:8786"
    scheduler = [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--no-dashboard"]
    worker = [*python, "distributed.cli.dask_worker", address, "--nthreads", "2", "--no-dashboard"]
    nodes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in (scheduler, worker, worker)]
    with open(task, "rb") as file:
        wasm = file.read()
    with open(numbers, encoding="utf-8") as file:
        items = [int(line) for line in file]
    with Client(address, timeout="60s") as client:
        chunks = [items[at : at + 2_000] for at in range(0, len(items), 2_000)]
        futures = [client.submit(squares, wasm, chunk, pure=False) for chunk in chunks]
        for results in client.gather(futures):
            print(*results, sep=os.linesep)
    # </set-up>
    for node in nodes:
        node.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
