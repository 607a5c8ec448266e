// Exchanges texts with other items, and counts their bytes.

import { Queue } from "wasmpool:shared/queues@0.1.0";
import { Value } from "wasmpool:shared/numbers@0.1.0";

export function exchange(text) {
  const message = encode(text);
  try {
    const texts = Queue.open("texts");
    texts.put(message, undefined);
    Value.open("bytes").add({ tag: "s64", val: message.length }); // QuickJS has 64 bits as a number, to 2^53
    return decode(texts.get(undefined));
  } catch (refused) {
    throw told(refused);
  }
}

// QuickJS has no TextEncoder.
function encode(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (symbol) => symbol.charCodeAt(0));
}

function decode(message) {
  return decodeURIComponent(escape(Array.from(message, (byte) => String.fromCharCode(byte)).join("")));
}

// The text of an error, or the name of one that has none.
function told(error) {
  const { tag, val } = error.payload ?? error;
  return val === undefined ? (tag ?? String(error)) : String(val);
}
