// Runs the program's WebAssembly: `node host.mjs FILE`.
import { readFileSync, writeSync } from "node:fs";

const nabiz = {
  write(file, from, count) {
    const memory = instance.exports.memory.buffer;
    writeSync(file, new Uint8Array(memory, from, count));
  },
};
const { instance } = await WebAssembly.instantiate(
  readFileSync(process.argv[2]),
  { nabiz },
);
process.exitCode = instance.exports.nabiz_program();
