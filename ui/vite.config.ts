import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const server = process.env.PELLUCID_URL ?? "http://127.0.0.1:7171";

// The page is served from inside the program under any path, so every address in it is relative.
// While it is developed its requests go on to a server, which takes them only as if its own page had sent them.
export default defineConfig({
  base: "./",
  plugins: [react()],
  build: { target: "es2022", sourcemap: false, chunkSizeWarningLimit: 700 },
  server: { proxy: { "/api": { target: server, changeOrigin: true, headers: { origin: new URL(server).origin } } } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
