// The client of the REST API, generated from its own document: `schema.ts` is written by each build.
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** What the server refused, as it said it (RFC 9457). */
export class Problem extends Error {
  constructor(readonly title: string, readonly detail: string, readonly status: number,
    readonly field: string | null = null, readonly expected: string | null = null, readonly got: string | null = null) {
    super(detail);
  }
}

/** The address of the server, whatever prefix it is behind: the pages are one folder below it. */
export const root = new URL("../", document.baseURI).href.replace(/\/$/, "");

function noAnswer(): Problem {
  return new Problem("No answer", "The server did not answer. Is it running?", 0);
}

/** A request that is not in the generated client; a Problem if there is no answer. */
export async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(root + path, options);
  } catch {
    throw noAnswer();
  }
}

const refusals: Middleware = {
  async onResponse({ response }) {
    if (!response.ok) throw await problemOf(response);
  },
  onError: noAnswer,
};

export const api = createClient<paths>({ baseUrl: root, credentials: "same-origin" });
api.use(refusals);

export async function problemOf(response: Response): Promise<Problem> {
  try {
    const said = (await response.json()) as Partial<Schemas["Problem"]>;
    return new Problem(said.title ?? response.statusText, said.detail ?? "", response.status,
      said.field ?? null, said.expected ?? null, said.got ?? null);
  } catch {
    return new Problem(`HTTP ${response.status}`, "The server, or a proxy before it, answered without a reason.", response.status);
  }
}

/** The body of an answer; those without one have thrown a Problem already. */
export async function got<T>(answer: Promise<{ data?: T }>): Promise<T> {
  const { data } = await answer;
  if (data === undefined) throw new Problem("No body", "The server answered without a body.", 0);
  return data;
}
