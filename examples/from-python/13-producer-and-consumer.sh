#!/bin/sh -eu
# A producer puts 0, 1, 2; a consumer takes until the queue is shut down, where Python's has to be terminated.
#
#     queue = Queue()
#     producer, consumer = Process(target=produce, args=(queue,)), Process(target=consume, args=(queue,))
#     producer.start(); consumer.start()
#     producer.join(); consumer.terminate()
. "$(dirname "$0")/setup.sh"

printf '%s\n' producer consumer | processes -f produce-and-consume --workers 2 --share numbers=queue
