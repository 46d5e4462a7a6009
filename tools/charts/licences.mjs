// Licences of everything that esbuild took into the bundle, by its metafile: node licences.mjs meta.json
import { existsSync, readFileSync, readdirSync } from "node:fs";

const meta = JSON.parse(readFileSync(process.argv[2], "utf8"));
const packages = new Set();
for (const path of Object.keys(meta.inputs)) {
  const found = path.match(/^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (found) packages.add(found[1]);
}
for (const name of [...packages].sort()) {
  const folder = `node_modules/${name}`;
  const about = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file && existsSync(`${folder}/${file}`) ? readFileSync(`${folder}/${file}`, "utf8").trim() : "";
  if (!text && !about.license) throw new Error(`${name} has no licence`);
  console.log(`${name} ${about.version} (${about.license})\n\n${text || "No text in the package."}\n\n${"-".repeat(80)}\n`);
}
