// Builds page.js and page.css into the folder that is named. The same source gives the same bytes.
import { build } from "esbuild";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2];
const preact = join(here, "node_modules", "preact");
const version = JSON.parse(readFileSync(join(preact, "package.json"), "utf8")).version;

for (const [entry, name, banner] of [
  ["source/main.tsx", "page.js", `/*! Built by viewer/build.mjs from viewer/source; holds Preact ${version} (MIT, see LICENSES.txt). */`],
  ["source/page.css", "page.css", "/*! Built by viewer/build.mjs from viewer/source/page.css. */"],
]) {
  const kind = name.endsWith(".js") ? "js" : "css";
  await build({
    absWorkingDir: here,
    entryPoints: [entry],
    outfile: join(target, name),
    bundle: true,
    minify: true,
    format: kind === "js" ? "iife" : undefined,
    target: ["es2022"],
    charset: "ascii",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    banner: { [kind]: banner },
    logLevel: "warning",
  });
}
const licence = readFileSync(join(preact, "LICENSE"), "utf8");
writeFileSync(join(target, "LICENSES.txt"), `page.js holds Preact ${version}, https://preactjs.com:\n\n${licence}`);
