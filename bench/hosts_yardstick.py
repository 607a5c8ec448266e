"""The same work by Dask: a scheduler, two hosts, and a task for each chunk that runs the wasmtime command.

    python3 bench/hosts_yardstick.py item|chunk WASMTIME GUEST WORKERS CACHE INPUT

With `item`, a process of wasmtime for each item, so that no item sees what another left behind; with `chunk`, one for each chunk,
which the guest takes as a list. Prints the number of items and the seconds, as JSON, without the start of the cluster. It needs
`distributed` (PyPI).
"""

import json
import os
import subprocess
import sys
import time

CHUNKS = {"item": 50, "chunk": 2_000}


def invoke(command, call):
    done = subprocess.run([*command[:-1], "--invoke", call, command[-1]], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def each_item(command, items):
    return [invoke(command, f"square({item})") for item in items]


def whole_chunk(command, items):
    return invoke(command, f"square-batch([{','.join(items)}])")


def main(mode, wasmtime, guest, workers, cache, path):
    from distributed import Client, LocalCluster

    with open(path, encoding="utf-8") as file:
        items = file.read().split()
    config = path + ".wasmtime.toml"
    with open(config, "w", encoding="utf-8") as file:
        file.write(f'[cache]\ndirectory = "{cache}"\n')
    command = [wasmtime, "run", "-C", f"cache-config={config}", guest]
    run, chunk = {"item": each_item, "chunk": whole_chunk}[mode], CHUNKS[mode]
    each = max(1, int(workers) // 2)
    with LocalCluster(n_workers=2, threads_per_worker=each, processes=True, dashboard_address=None) as cluster, Client(cluster) as client:
        client.submit(run, command, items[:1]).result()
        start = time.perf_counter()
        tasks = [client.submit(run, command, items[at : at + chunk], pure=False) for at in range(0, len(items), chunk)]
        results = [result for some in client.gather(tasks) for result in some]
        seconds = time.perf_counter() - start
    if results != [int(item) ** 2 for item in items]:
        sys.exit(f"results are wrong: {results[:3]}")
    json.dump({"items": len(items), "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
