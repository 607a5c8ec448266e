#!/bin/sh
# Squares numbers over two hosts of this machine, each item in an instance of its own: wasmpool and a NATS server.
#     bench/setup/wasmpool.sh TASK NUMBERS
set -eu
# <set-up>
nats-server -js -a 127.0.0.1 -l /dev/null &
wasmpool serve --via nats://127.0.0.1:4222 --name host-1 -j 2 --quiet &
wasmpool serve --via nats://127.0.0.1:4222 --name host-2 -j 2 --quiet &
wasmpool map --via nats://127.0.0.1:4222 "$1" "$2"
# </set-up>
kill $(jobs -p)
