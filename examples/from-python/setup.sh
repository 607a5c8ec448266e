# What the programs in this folder have in common: which wasmpool, and which guest. `make build rust-guests` builds both.

root=$(cd "$(dirname "$0")/../.." && pwd)
guest=${GUESTS:-$root/guest/target/wasm32-wasip2/release}/from_python.wasm
program=${WASMPOOL:-$root/target/release/wasmpool}
wasmpool() { "$program" "$@"; }
# In a pipe, a command that is missing would be no error.
command -v "$program" > /dev/null || { echo "there is no $program: make build, or set WASMPOOL" >&2; exit 1; }
[ -r "$guest" ] || { echo "there is no $guest: make rust-guests, or set GUESTS" >&2; exit 1; }

# One process for each item, which starts at once; what the items return is printed as it is.
processes() { wasmpool map "$guest" --input-format lines --output-format raw --delimiter none --chunk-size 1 "$@"; }

# A folder for what a program writes.
out=$(mktemp -d)
trap 'rm -r "$out"' EXIT

# Prints lines as a list of Python.
as_list() { paste -sd , - | sed 's/,/, /g; s/.*/[&]/'; }

# Prints what a shared object holds in a file of --share-out, as Python would.
member() { sed 's/.*"'"$1"'":\(\[[^]]*\]\|[^,}]*\).*/\1/; s/,/, /g' "$out/shared.json" | tr '"' "'"; }

# Prints the texts of a shared list, one on each line.
lines_of() { member "$1" | tr -d "[]'" | sed 's/, /\n/g'; }

# Runs six tasks in so many processes. Prints what they said, each with its process and the parent. A guest does not know its
# process; the records of the results have the number by which the run knows it.
tasks_by() {
    seq 0 5 > "$out/numbers"
    "$program" map "$guest" -f task "$out/numbers" --workers "$1" --chunk-size 1 --output-format records \
        --share said=list --share-out "$out/shared.json" > "$out/records" &
    parent=$!
    wait "$parent"
    lines_of said | while read -r task number what; do
        process=$(sed -n 's/.*"index":'"$number"',.*"worker":\([0-9]*\).*/\1/p' "$out/records")
        echo "$task $number (process $process of $parent) $what"
    done
}
