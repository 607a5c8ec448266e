#!/bin/sh -eu
# The same through a manager, with a list too.
#
#     with Manager() as manager:
#         num, arr, words = manager.Value('d', 0.0), manager.Array('i', range(10)), manager.list()
#         p = Process(target=assign_and_append, args=(num, arr, words)); p.start(); p.join()
#         print(num.value); print(arr); print(words)
. "$(dirname "$0")/setup.sh"

echo '{"num": 0.0, "arr": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}' > "$out/start.json"
wasmpool call "$guest" assign-and-append --share num=value:f64 --share arr=array:s32:10 --share words=list \
    --share-in "$out/start.json" --share-out "$out/shared.json" > /dev/null
member num
member arr
member words
