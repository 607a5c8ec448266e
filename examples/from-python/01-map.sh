#!/bin/sh -eu
# A pool of 5 maps x → x² over 1…10.
#
#     with Pool(5) as pool:
#         print(pool.map(square, range(1, 11)))
. "$(dirname "$0")/setup.sh"

seq 10 | wasmpool map "$guest" -f square --workers 5 | as_list
