// Bundles client pages. Standard input: {outdir, bundles: [{name, entry, alias}]}. A package is taken as npm has it;
// `alias` only says which version of it an import means.
import {build} from "esbuild";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
let text = "";
for await (const chunk of process.stdin) text += chunk;
const {outdir, bundles} = JSON.parse(text);

await Promise.all(
  bundles.map(({name, entry, alias}) =>
    build({
      absWorkingDir: dirname(here),
      entryPoints: [join(here, entry)],
      outfile: join(outdir, `${name}.js`),
      alias,
      bundle: true,
      format: "iife",
      define: {"process.env.NODE_ENV": '"production"', global: "window"},
      loader: {".css": "empty"},
      logLevel: "error",
    }),
  ),
);
