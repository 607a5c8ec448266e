#!/bin/sh -eu
# A pool of 4 runs thirty items, each in a process of its own, and prints their ids: here the numbers by which the run knows them.
#
#     with Pool(4, maxtasksperchild=1) as pool:
#         for pid in pool.map(getpid, range(30), chunksize=1):
#             print(pid)
. "$(dirname "$0")/setup.sh"

seq 30 | wasmpool map "$guest" -f nothing --workers 4 --chunk-size 1 --max-items-per-worker 1 --output-format records |
    sed 's/.*"worker":\([0-9]*\).*/\1/'
