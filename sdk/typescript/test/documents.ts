// The TypeScript in a page.
import { readFileSync } from "node:fs";

/** The blocks of TypeScript in `page`, a path from the repository's root; an address of the pages is `url`. */
export function examples(page: string, url: string): string[] {
  const text = readFileSync(new URL(`../../../${page}`, import.meta.url), "utf8");
  return Array.from(text.matchAll(/```ts\n(.*?)```/gs), ([, code = ""]) => code.replaceAll("http://127.0.0.1:7071", url));
}

/** `blocks` as one module: its imports first, each name once. */
export function asModule(blocks: readonly string[], from: string): string {
  const names = new Set<string>();
  const code = blocks.join("\n").replaceAll(/import \{ (.*?) \} from "llm-pool";\n/g, (_, found: string) => {
    for (const name of found.split(", ")) names.add(name);
    return "";
  });
  return `import { ${[...names].join(", ")} } from "${from}";\n${code}`;
}
