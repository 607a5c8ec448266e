#!/bin/sh -eu
# A pool of 3 gets six tasks, each of which takes a second and says when it begins and when it ends.
#
#     pool = Pool(3)
#     for number in range(6):
#         pool.apply_async(task, (number,))
#     print('Waiting for all tasks')
#     pool.close(); pool.join()
#     print('All tasks are done')
. "$(dirname "$0")/setup.sh"

echo 'Waiting for all tasks'
tasks_by 3
echo 'All tasks are done'
