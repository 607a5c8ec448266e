#!/bin/sh -eu
# A pool of 2 maps x → x², which takes a second each, over five items: three seconds, and not five.
#
#     with Pool(2) as pool:
#         print(pool.map(slow_square, [1, 2, 3, 4, 5]))
. "$(dirname "$0")/setup.sh"

seq 5 | wasmpool map "$guest" -f slow-square --workers 2 --chunk-size 1 | as_list
