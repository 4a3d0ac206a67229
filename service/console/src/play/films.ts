// Films of episodes, fetched once each: the pictures of every step, and one picture that shows the whole way.

import { useEffect, useState } from "preact/hooks";

export interface Film {
  readonly whole: string;
  readonly pictures: readonly string[];
}

/** A film and how many parts of the page show it. */
interface Kept {
  readonly film: Promise<Film | null>;
  users: number;
}

const MAGIC = 8;
/** Films that are shown nowhere and kept all the same, since a person goes back and forth. */
const SPARE = 12;
const kept = new Map<string, Kept>();

/** The film of an episode; null while it loads, and where there is none. */
export function useFilm(digest: string | null): Film | null {
  const [film, setFilm] = useState<Film | null>(null);
  useEffect(() => {
    setFilm(null);
    if (digest === null) return;
    let here = true;
    const taken = take(digest);
    void taken.film.then((found) => here && setFilm(found));
    return () => {
      here = false;
      release(taken);
    };
  }, [digest]);
  return film;
}

function take(digest: string): Kept {
  const found = kept.get(digest) ?? { film: load(digest), users: 0 };
  found.users += 1;
  kept.delete(digest); // and to the end: what was used last is kept longest
  kept.set(digest, found);
  void found.film.then((film) => film === null && kept.get(digest) === found && kept.delete(digest));
  return found;
}

function release(released: Kept): void {
  released.users -= 1;
  const unused = [...kept].filter(([, { users }]) => users === 0);
  for (const [digest, { film }] of unused.slice(0, Math.max(0, unused.length - SPARE))) {
    kept.delete(digest);
    void film.then((gone) => gone && [gone.whole, ...gone.pictures].forEach((one) => URL.revokeObjectURL(one)));
  }
}

async function load(digest: string): Promise<Film | null> {
  try {
    const answer = await fetch(`films/${encodeURIComponent(digest)}`);
    return answer.ok ? read(await answer.arrayBuffer()) : null;
  } catch {
    return null;
  }
}

function read(content: ArrayBuffer): Film {
  const view = new DataView(content);
  const n = view.getUint32(MAGIC, true);
  let at = MAGIC + 4 + 4 * n;
  const [whole, ...pictures] = Array.from({ length: n }, (_, i) => {
    const size = view.getUint32(MAGIC + 4 + 4 * i, true);
    const part = new Blob([new Uint8Array(content, at, size)], { type: "image/jpeg" });
    at += size;
    return URL.createObjectURL(part);
  });
  return { whole: whole ?? "", pictures };
}
