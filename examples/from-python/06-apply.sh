#!/bin/sh -eu
# The same by `apply`: strictly one after the other.
#
#     for number in range(6):
#         pool.apply(task, (number,))
#     pool.close(); pool.join()
#     print('All tasks are done')
. "${0%/*}/setup.sh"

seq 0 5 | wasmpool map "$guest" -f task --workers 1 --share said=list --share-out "$out/shared.json" > /dev/null
lines_of said
echo 'All tasks are done'
