// Bundles the editor into one module. Arguments: the file to write, and the mark of the sources, which becomes its first line.

import { readFile, readdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const [output, mark] = process.argv.slice(2);
if (!output || !mark) {
  console.error("usage: node build.js OUTPUT MARK");
  process.exit(2);
}

const made = await build({
  absWorkingDir: here,
  entryPoints: ["rules_editor.js"],
  bundle: true,
  charset: "utf8",
  format: "esm",
  legalComments: "none", // the licences are added whole, below
  metafile: true,
  minify: true,
  target: ["es2022"],
  write: false,
});

// Returns the licences of the packages that are in the bundle.
async function licences() {
  const folders = Object.keys(made.metafile.inputs).map((file) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]);
  const told = [];
  for (const folder of [...new Set(folders)].filter(Boolean).sort()) {
    const { name, version, license } = JSON.parse(await readFile(join(here, folder, "package.json"), "utf8"));
    const file = (await readdir(join(here, folder))).find((one) => /^licen[cs]e/i.test(one));
    if (!file) throw new Error(`${name} has no file with its licence`);
    const text = (await readFile(join(here, folder, file), "utf8")).trim().replaceAll("*/", "* /");
    told.push(`${name} ${version} (${license})\n\n${text}`);
  }
  return told.join("\n\n\n");
}

const code = made.outputFiles[0].text.trimEnd();
await writeFile(`${output}.new`, `/* ${mark} */\n${code}\n/*! This file contains:\n\n${await licences()}\n*/\n`);
await rename(`${output}.new`, output);
