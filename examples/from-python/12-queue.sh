#!/bin/sh -eu
# Two processes put 1 each into a queue, and the parent gets twice.
#
#     queue = Queue()
#     a, b = Process(target=put_one, args=(queue,)), Process(target=put_one, args=(queue,))
#     a.start(); b.start(); a.join(); b.join()
#     print(queue.get()); print(queue.get())
. "$(dirname "$0")/setup.sh"

printf '%s\n' child child parent | processes -f put-one --workers 3 --share numbers=queue
