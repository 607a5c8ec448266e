// A plugin of wasmpool. `wit/world.wit` says what it exports. What is thrown is the error of the result.

export function greet(name) {
  const given = name.trim();
  if (given === "") {
    throw "nobody has no name";
  }
  return `Hello, ${given}!`;
}
