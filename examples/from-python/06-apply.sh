#!/bin/sh -eu
# The same by `apply`: strictly one after the other.
#
#     for number in range(6):
#         pool.apply(task, (number,))
#     pool.close(); pool.join()
#     print('All tasks are done')
. "$(dirname "$0")/setup.sh"

tasks_by 1
echo 'All tasks are done'
