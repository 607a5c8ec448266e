#!/bin/sh -eu
# Ten processes, each with a number of its own, which it prints after a second.
#
#     class Sleeper(Process):
#         def __init__(self, number): super().__init__(); self.number = number
#         def run(self): time.sleep(1); print(self.number)
#     for number in range(10):
#         Sleeper(number).start()
. "$(dirname "$0")/setup.sh"

seq 0 9 | wasmpool map "$guest" -f sleeper --workers 10 --chunk-size 1 --unordered
