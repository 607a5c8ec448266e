"""Counts what has to be written to run the same work over two hosts with wasmpool, with Dask and with Ray: lines between the marks of
each script in this directory, without comments and empty ones.

    python3 bench/setup/count.py
"""

from pathlib import Path

SCRIPTS = {"wasmpool": "wasmpool.sh", "Dask": "dask_setup.py", "Ray": "ray_setup.py"}


def lines(path):
    text = path.read_text(encoding="utf-8")
    _, _, rest = text.partition("# <set-up>\n")
    body, _, _ = rest.partition("# </set-up>")
    stripped = (line.strip() for line in body.splitlines())
    return sum(1 for line in stripped if line and not line.startswith("#"))


if __name__ == "__main__":
    for name, script in SCRIPTS.items():
        print(f"{name}\t{lines(Path(__file__).parent / script)}")
