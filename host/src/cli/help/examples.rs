//! The examples of the full help.

/// Returns the examples of a command, each on a line of its own, below a line that says what it is for.
pub fn examples(command: &str) -> &'static str {
    match command {
        "map" => {
            "  One result for each line of JSON:
    seq 1 1000 | wasmpool map square.wasm
  Every file of a directory, by the bytes that are in it:
    ls photos/*.jpg |
      wasmpool map thumbnail.wasm --input-format files --results thumbnails
  The columns of a table by name, one parameter fixed:
    wasmpool map score.wasm -f score --arg rate=0.3 orders.csv -o scores.jsonl
  A run that may be killed, goes on where it was, and keeps what failed apart:
    wasmpool map check.wasm items.jsonl -o out.jsonl \\
      --journal run.journal --resume --failed failed.jsonl
  Try it on ten items, after a look at what would run:
    wasmpool map check.wasm items.jsonl --dry-run
    wasmpool map check.wasm items.jsonl --first 10"
        }
        "exec" => {
            "  The item is the command's standard input:
    wasmpool exec wc.wasm --input-format files paths.txt
  The item is an argument:
    seq 100 | wasmpool exec factor.wasm --delimiter newline -- --exponents '{}'
  A record for each item, with its exit code and what the command said:
    wasmpool exec solver.wasm --input-format files paths.txt \\
      --ok-codes 10,20 --output-format records"
        }
        "call" => {
            "  Numbers, and a text as it is:
    wasmpool call square.wasm square 12
    wasmpool call greet.wasm greet World --arg greeting=Hello
  A record as JSON:
    wasmpool call score.wasm score '{\"id\": 7, \"rate\": 0.5}'"
        }
        "run" => {
            "  Look at what would start, then start it:
    wasmpool run pipeline.toml --check
    wasmpool run pipeline.toml --share-out result.json"
        }
        "inspect" => {
            "  What can be called, and what an item looks like:
    wasmpool inspect task.wasm
  The same for a program:
    wasmpool inspect task.wasm --json | jq '.functions[].name'"
        }
        "compile" => {
            "  Compile in an image that is built, so that no run has to:
    WASMPOOL_CACHE_DIR=/var/cache/wasmpool wasmpool compile task.wasm"
        }
        "serve" => {
            "  Take chunks of runs on other machines, with four workers:
    wasmpool serve --via tls://nats.example.com:4222 --creds host.creds -j 4"
        }
        "share serve" => {
            "  Keep the objects of a file over restarts, and reach one of them from a run:
    wasmpool share serve backlog.toml --state backlog.json \\
      --via tls://nats.example.com:4222
    wasmpool map crawl.wasm urls.jsonl --share jobs@backlog:put \\
      --via tls://nats.example.com:4222"
        }
        "hosts" => "    wasmpool hosts --via tls://nats.example.com:4222 --creds user.creds",
        "new" => {
            "  A plugin in Rust, with its build command in its README:
    wasmpool new rust check"
        }
        "cache" => {
            "  What is there, and what is not used any more:
    wasmpool cache list
    wasmpool cache clean --older 30d"
        }
        "completions" => {
            "  For bash:
    mkdir -p ~/.local/share/bash-completion/completions
    wasmpool completions bash \\
      > ~/.local/share/bash-completion/completions/wasmpool
  For zsh, with `fpath+=~/.zfunc` before compinit in ~/.zshrc:
    mkdir -p ~/.zfunc
    wasmpool completions zsh > ~/.zfunc/_wasmpool
  For fish:
    mkdir -p ~/.config/fish/completions
    wasmpool completions fish > ~/.config/fish/completions/wasmpool.fish"
        }
        "man" => {
            "    wasmpool man | man -l -
    mkdir -p ~/.local/share/man/man1
    wasmpool man ~/.local/share/man/man1"
        }
        _ => "",
    }
}
