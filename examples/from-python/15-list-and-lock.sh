#!/bin/sh -eu
# A pool of 4 appends 0…19 to a manager's list, under its lock.
#
#     with Manager() as manager, Pool(4) as pool:
#         items, gate = manager.list(), manager.Lock()
#         pool.map(partial(append, items, gate), range(20))
#         print(items)
. "$(dirname "$0")/setup.sh"

seq 0 19 | wasmpool map "$guest" -f append --workers 4 --share items=list --share gate=lock \
    --share-out "$out/shared.json" > /dev/null
member items | tr -d "'"
