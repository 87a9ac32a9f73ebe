import { defineConfig } from "@playwright/test";

// Runs against a server that is there: PELLUCID_URL, serving a real model with its atlas. One page at a time, since
// generation takes whole cores.
export default defineConfig({
  testDir: "e2e",
  timeout: 120_000,
  expect: { timeout: 30_000 },
  workers: 1,
  retries: 0,
  outputDir: "test-results",
  reporter: [["list"]],
  use: {
    baseURL: process.env.PELLUCID_URL ?? "http://127.0.0.1:7171",
    viewport: { width: 1600, height: 950 },
    launchOptions: {
      executablePath: process.env.PELLUCID_CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync",
      ],
    },
  },
});
