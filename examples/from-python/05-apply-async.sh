#!/bin/sh -eu
# A pool of 3 gets six tasks, each of which takes a second and says when it begins and when it ends.
#
#     pool = Pool(3)
#     for number in range(6):
#         pool.apply_async(task, (number,))
#     print('Waiting for all tasks')
#     pool.close(); pool.join()
#     print('All tasks are done')
. "${0%/*}/setup.sh"

echo 'Waiting for all tasks'
seq 0 5 | wasmpool map "$guest" -f task --workers 3 --chunk-size 1 --share said=list --share-out "$out/shared.json" > /dev/null
lines_of said
echo 'All tasks are done'
