import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { globalSetup: "test/daemon.ts", include: ["test/*.test.ts"], testTimeout: 30_000, fileParallelism: false },
});
