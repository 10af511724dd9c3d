// Writes the bundle that is shipped: one module, one style sheet, the licences of what is inside.
// The first line of the module names a digest of the sources, so that a stale bundle is noticed
// where npm is not at hand.
import {createHash} from "node:crypto";
import {readFileSync, readdirSync, writeFileSync} from "node:fs";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";
import {build} from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "graphs", "interactive", "static");

const sources = ["build.mjs", "package-lock.json", "package.json"].concat(
  readdirSync(join(here, "src")).sort().map((name) => `src/${name}`),
);
const hash = createHash("sha256");
for (const name of sources) hash.update(`${name}\0`).update(readFileSync(join(here, name)));

const common = {bundle: true, minify: true, write: false, charset: "ascii", logLevel: "warning"};
const script = await build({
  ...common,
  entryPoints: [join(here, "src/main.js")],
  format: "esm",
  target: "es2022",
  legalComments: "none",
  metafile: true,
});
const style = await build({...common, entryPoints: [join(here, "src/page.css")]});

const packages = new Set();
for (const path of Object.keys(script.metafile.inputs)) {
  const found = /node_modules\/([^/]+)\//.exec(path);
  if (found) packages.add(found[1]);
}
const licences = [...packages].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const {version, license} = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}\n`;
});

writeFileSync(join(out, "page.js"), `// sources ${hash.digest("hex")}\n${script.outputFiles[0].text}`);
writeFileSync(join(out, "page.css"), style.outputFiles[0].text);
writeFileSync(join(out, "LICENSES.txt"), licences.join(`\n${"-".repeat(72)}\n\n`));
