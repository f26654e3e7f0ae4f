// What every driver asks, and how it tells what came: a line of JSON for each cell of the table.

export const SKY = "What colour is the sky?";
export const SEA = "Tell me of the sea.";
export const WHY = "Why is the sky blue?";
export const CITY = "Name a city.";
export const WEATHER = "What is the weather in Rome?";
export const PICTURE = "What is in this picture?";
export const ENDLESS = "Tell me an endless story.";

export const SUNNY = "18 degrees and sunny";
export const MISSING = "no-such-model";
export const BROKEN = "broken";
export const EMBEDDER = "nomic-embed-text";
export const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

/** Run `work`, and print what it gives, or what it throws, under `name`. */
export async function cell(name, work) {
  let said;
  try {
    said = await work();
  } catch (error) {
    said = { raised: `${typeName(error)}: ${error.message}` };
  }
  console.log(JSON.stringify({ cell: name, ...said }));
  // Who has left stays a while, so that what ends the call is the client's leaving and not the end of this process.
  if (said.left) await new Promise((done) => setTimeout(done, 300));
}

/** What `work` throws: its type and what it says. */
export async function raised(work) {
  try {
    await work();
  } catch (error) {
    return { type: typeName(error), message: error.message };
  }
  return { type: "", message: "nothing was thrown" };
}

/** The machine's monotonic clock in seconds, which the runner reads too. */
export const now = () => Number(process.hrtime.bigint()) / 1e9;

const typeName = (error) => error?.constructor?.name ?? typeof error;
