#!/bin/sh -eu
# A child sends a list through a pipe, and the parent prints it.
#
#     parent_end, child_end = Pipe()
#     p = Process(target=send, args=(child_end,)); p.start()
#     print(parent_end.recv())
#     p.join()
. "$(dirname "$0")/setup.sh"

printf '%s\n' child parent | processes -f one-way --workers 2 --share link=pipe
