import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The page is served from inside the program under any path, so every address in it is relative.
export default defineConfig({
  base: "./",
  plugins: [react()],
  build: { target: "es2022", sourcemap: false, chunkSizeWarningLimit: 700 },
  server: { proxy: { "/api": process.env.PELLUCID_URL ?? "http://127.0.0.1:7171" } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
