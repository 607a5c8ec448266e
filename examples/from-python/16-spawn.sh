#!/bin/sh -eu
# A spawned process puts `hello` into a queue, and the parent prints it.
#
#     set_start_method('spawn')
#     queue = Queue()
#     p = Process(target=hello, args=(queue,)); p.start()
#     print(queue.get())
#     p.join()
. "$(dirname "$0")/setup.sh"

printf '%s\n' child parent | processes -f hello --workers 2 --share words=queue
