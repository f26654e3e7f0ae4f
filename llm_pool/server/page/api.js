// Asking the daemon, with the key of this tab where there is one.

const KEY = "llm-pool key";

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

function headers(extra = {}) {
  const own = key.get();
  return own ? { ...extra, authorization: `Bearer ${own}` } : extra;
}

export async function call(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.status === 401) throw Object.assign(new Error("a key is needed"), { locked: true });
  if (!response.ok) throw Object.assign(new Error(await problem(response)), { status: response.status });
  return response;
}

async function problem(response) {
  try {
    const { error } = await response.json();
    return error.hint ? `${error.message}. ${error.hint}` : error.message;
  } catch {
    return `status ${response.status}`;
  }
}
