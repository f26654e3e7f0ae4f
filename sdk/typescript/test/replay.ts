import { createServer, type Socket } from "node:net";

/** One request; header names in small letters. */
export interface Asked {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
}

export interface Told {
  status: number;
  headers: Record<string, string>;
}

/** A server that answers every request with `pieces`, each written by itself, and keeps what it was asked. */
export async function replaying<T>(
  told: Told,
  pieces: readonly Uint8Array[],
  use: (url: string, asked: Asked[]) => Promise<T>,
): Promise<T> {
  const asked: Asked[] = [];
  const server = createServer((socket) => void answer(socket, told, pieces, asked).catch(() => socket.destroy()));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  try {
    return await use(`http://127.0.0.1:${address.port}`, asked);
  } finally {
    server.close();
  }
}

async function answer(socket: Socket, told: Told, pieces: readonly Uint8Array[], asked: Asked[]): Promise<void> {
  socket.setNoDelay(true);
  let received = Buffer.alloc(0);
  for await (const piece of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, piece]);
    const request = parsed(received);
    if (request === undefined) continue;
    asked.push(request);
    const head = Object.entries(told.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`HTTP/1.1 ${told.status} Told\r\n${head.join("")}connection: close\r\n\r\n`);
    for (const one of pieces) {
      socket.write(one);
      await new Promise((turn) => setImmediate(turn));
    }
    socket.end();
    return;
  }
}

function parsed(received: Buffer): Asked | undefined {
  const end = received.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [start = "", ...lines] = received.subarray(0, end).toString("latin1").split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line) => [line.split(": ")[0]?.toLowerCase(), line.split(": ").slice(1).join(": ")]),
  ) as Record<string, string>;
  const body = received.subarray(end + 4);
  if (body.length < Number(headers["content-length"] ?? 0)) return undefined;
  const [method = "", path = ""] = start.split(" ");
  return { method, path, headers, body: body.toString("utf8") };
}
