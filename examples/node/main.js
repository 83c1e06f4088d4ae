// Print how near and how far each photograph of a folder reaches: `node main.js localhost:8001 PHOTOGRAPH ...`

import { readFile } from "node:fs/promises";
import { DepthError, DepthService } from "./depth.js";

const [address, ...photographs] = process.argv.slice(2);
if (!address || !photographs.length) {
  console.error("usage: node main.js ADDRESS PHOTOGRAPH ...");
  process.exit(2);
}

async function* frames() {
  for (const path of photographs) yield await readFile(path);
}

const service = new DepthService(address, process.env["DEPTH_KEY"] ? { key: process.env["DEPTH_KEY"] } : {});
try {
  for await (const { frame, depth, error } of service.stream(frames(), { size: "model" })) {
    const said = depth ? `${depth.minimum.toFixed(2)} to ${depth.maximum.toFixed(2)} ${depth.unit}, by ${depth.model}` : error?.message;
    console.log(`${photographs[frame]}: ${said}`);
  }
} catch (error) {
  // What the service says, or why a photograph cannot be read; more than that would be a fault of this program.
  if (error instanceof DepthError) console.error(`${error.status}: ${error.message} (request ${error.requestId})`);
  else if (error instanceof Error && "path" in error) console.error(error.message);
  else throw error;
  process.exitCode = 1;
} finally {
  service.close();
}
