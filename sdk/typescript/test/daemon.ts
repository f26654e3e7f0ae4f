// Starts real daemons before the tests, and stops them after: tools/sdk_daemon.py.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const OWN = `${ROOT}.venv/bin/python`;

export interface Daemons {
  /** Asks nobody who they are. */
  open: { http: string };
  /** Takes keys of the tenants acme and limited, and tokens. */
  closed: { http: string };
  secret: string;
  limited: string;
  jwt: string;
  /** A web page of another site that may ask. */
  origin: string;
}

declare module "vitest" {
  export interface ProvidedContext {
    daemons: Daemons;
  }
}

export default async function start(project: TestProject): Promise<() => Promise<void>> {
  const python = process.env["LLM_POOL_PYTHON"] ?? (existsSync(OWN) ? OWN : "python3");
  const child = spawn(python, [`${ROOT}tools/sdk_daemon.py`], { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] });
  const line = await new Promise<string>((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (piece: Buffer) => {
      said += piece.toString();
      if (said.includes("\n")) resolve(said);
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`tools/sdk_daemon.py ended with ${code}`)));
  });
  project.provide("daemons", JSON.parse(line) as Daemons);
  return async () => {
    const ended = new Promise((resolve) => child.on("exit", resolve));
    child.stdin.end();
    await ended;
  };
}
