#!/bin/sh -eu
# A queue with room for one: put into the full one and get from the empty one, without waiting and with a timeout.
#
#     one = Queue(1)
#     one.put('first')
#     one.put('second', block=False)    # queue.Full
#     one.put('second', timeout=0.1)    # queue.Full
#     one.get()
#     one.get(block=False)              # queue.Empty
#     one.get(timeout=0.1)              # queue.Empty
. "$(dirname "$0")/setup.sh"

echo null | wasmpool map "$guest" -f full-and-empty --output-format raw --delimiter none --share one=queue:1
