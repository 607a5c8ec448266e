#!/bin/sh -eu
# Results of items of different length, in the order of the input, and as they finish.
#
#     print(list(pool.imap(work, [1500, 750, 0])))
#     print(list(pool.imap_unordered(work, [1500, 750, 0])))
. "$(dirname "$0")/setup.sh"

printf '%s\n' 1500 750 0 | wasmpool map "$guest" -f work --workers 3 --chunk-size 1 | as_list
printf '%s\n' 1500 750 0 | wasmpool map "$guest" -f work --workers 3 --chunk-size 1 --unordered | as_list
