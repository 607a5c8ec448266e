#!/bin/sh -eu
# Four processes append a hundred lines each to one file: every line is whole, and none is lost.
#
#     def append_lines(gate, process):
#         with open('out/lines', 'a') as file:
#             for line in range(100):
#                 with gate:
#                     file.write(f'process {process}, line {line}\n'); file.flush()
. "$(dirname "$0")/setup.sh"

seq 4 | wasmpool map "$guest" -f append-lines --workers 4 --chunk-size 1 --dir "$out::/out:rw" --share gate=lock > /dev/null
grep -cx 'process [1-4], line [0-9]*' "$out/lines"
sort -u "$out/lines" | wc -l
