#!/bin/sh -eu
# Two processes add 1 to a global three times; each has its own, and so has the parent.
#
#     zero = 0
#     def add():
#         global zero
#         for _ in range(3):
#             zero += 1
#             print(current_process().name, zero)
#     a, b = Process(target=add), Process(target=add)
#     a.start(); b.start(); a.join(); b.join()
#     print('parent', zero)
. "$(dirname "$0")/setup.sh"

printf '%s\n' Process-1 Process-2 parent | processes -f global --workers 3
