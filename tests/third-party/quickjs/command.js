// QuickJS as a command: runs the script on standard input. `print` and `args` are all it is given.

import environment from "wasi:cli/environment@0.2.6";
import stderr from "wasi:cli/stderr@0.2.6";
import stdin from "wasi:cli/stdin@0.2.6";
import stdout from "wasi:cli/stdout@0.2.6";

// The engine has no TextEncoder; these do the same by way of percent-encoding.
const encode = (text) => Uint8Array.from(unescape(encodeURIComponent(text)), (c) => c.charCodeAt(0));
const decode = (bytes) => decodeURIComponent(escape(bytes.map((byte) => String.fromCharCode(byte)).join("")));

// What one call may write.
const MOST = 4096;

function write(output, text) {
    const bytes = encode(text);
    for (let at = 0; at < bytes.length; at += MOST) {
        output.blockingWriteAndFlush(bytes.subarray(at, at + MOST));
    }
}

function readAll(input) {
    const bytes = [];
    try {
        for (;;) {
            for (const byte of input.blockingRead(65536)) bytes.push(byte);
        }
    } catch (_closed) {
        return decode(bytes);
    }
}

// Indirect, so that a script's variables are global.
const evaluateGlobally = (script) => (0, eval)(script);

export const run = {
    run() {
        const output = stdout.getStdout();
        globalThis.args = environment.getArguments().slice(1);
        globalThis.print = (...values) => write(output, values.join(" ") + "\n");
        try {
            evaluateGlobally(readAll(stdin.getStdin()));
        } catch (error) {
            write(stderr.getStderr(), `${error}\n`);
            throw undefined; // `run` returns an error: exit code 1
        }
    },
};

export function evaluate(script) {
    try {
        return JSON.stringify(evaluateGlobally(script)) ?? "null";
    } catch (error) {
        throw `${error}`;
    }
}
