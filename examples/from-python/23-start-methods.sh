#!/bin/sh -eu
# The start method, and eight processes, each of which prints its id: here the number by which the run knows it.
#
#     print(get_start_method())
#     os.fork(); os.fork(); os.fork()
#     print(os.getpid())
#
# There is no fork here, so eight processes are eight items: each starts from the task, and not from what another had.
. "$(dirname "$0")/setup.sh"

echo spawn
seq 8 | wasmpool map "$guest" -f nothing --workers 8 --chunk-size 1 --max-items-per-worker 1 --output-format records |
    sed 's/.*"worker":\([0-9]*\).*/\1/'
