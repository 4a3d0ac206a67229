// Two pages with shared parts: the console that the server serves, and the page of `wtl play`.
// Everything is a file of its own (the pages allow no inline script or style), addressed relative to the page.
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    outDir: "built",
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: "licenses.md" },
    rollupOptions: { input: { console: "index.html", play: "play.html" } },
  },
});
