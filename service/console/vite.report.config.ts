// The report of an evaluation: one file with its script and style inside, so that it opens from disk.
import { defineConfig, type Plugin } from "vite";

function inOneFile(): Plugin {
  return {
    name: "in-one-file",
    enforce: "post",
    generateBundle(_, bundle) {
      const page = bundle["report.html"];
      if (page?.type !== "asset") throw new Error("report.html was not built");
      let html = String(page.source);
      for (const [name, file] of Object.entries(bundle)) {
        if (file === page || !/\.(js|css)$/.test(name)) continue;
        const at = file.type === "chunk" ? /<script [^>]*src="[^"]*"[^>]*><\/script>/ : /<link [^>]*rel="stylesheet"[^>]*>/;
        const inside = file.type === "chunk" ? `<script type="module">${file.code.replaceAll("</script", "<\\/script")}</script>` : `<style>${String(file.source)}</style>`;
        if (!at.test(html)) throw new Error(`${name} has no place in report.html`);
        html = html.replace(at, () => inside);
        delete bundle[name];
      }
      page.source = html;
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [inOneFile()],
  build: { outDir: "built", emptyOutDir: false, target: "es2022", modulePreload: false, cssCodeSplit: false, rollupOptions: { input: "report.html" } },
});
