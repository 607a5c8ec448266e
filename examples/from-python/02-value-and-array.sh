#!/bin/sh -eu
# A process sets a shared value, and an element of a shared array.
#
#     num, arr = Value('d', 0.0), Array('i', range(10))
#     p = Process(target=assign, args=(num, arr)); p.start(); p.join()
#     print(num.value); print(arr[:])
. "$(dirname "$0")/setup.sh"

echo '{"num": 0.0, "arr": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}' > "$out/start.json"
wasmpool call "$guest" assign --share num=value:f64 --share arr=array:s32:10 \
    --share-in "$out/start.json" --share-out "$out/shared.json" > /dev/null
member num
member arr
