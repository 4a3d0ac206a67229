// Who is asking. The key is sent once, in a header, and becomes a cookie that no script can read; the page keeps nothing.
import { ask, problemOf, type Schemas } from "../api/client";

export type Caller = Schemas["CallerState"];

/** The caller, or null if a key is needed. A session whose key is no longer good is ended. */
export async function findCaller(): Promise<Caller | null> {
  let answer = await ask("/v1/caller");
  if (answer.status === 401) {
    await ask("/console/sign-out", { method: "POST" });
    answer = await ask("/v1/caller");
  }
  if (answer.status === 401) return null;
  if (!answer.ok) throw await problemOf(answer);
  return (await answer.json()) as Caller;
}

export async function signIn(key: string): Promise<void> {
  // What a header cannot hold is no key; the server says what one looks like.
  const sent = key.replace(/[^\x21-\x7e]/g, "?");
  const answer = await ask("/console/sign-in", { method: "POST", headers: { Authorization: `Bearer ${sent}` } });
  if (!answer.ok) throw await problemOf(answer);
}

export async function signOut(): Promise<void> {
  await ask("/console/sign-out", { method: "POST" });
}
