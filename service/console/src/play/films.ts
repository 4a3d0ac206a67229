// Films of episodes, fetched once each: the pictures of every step, and one picture that shows the whole way.

import { useEffect, useState } from "preact/hooks";

export interface Film {
  readonly whole: string;
  readonly pictures: readonly string[];
}

const MAGIC = 8;
const MOST = 60;
const kept = new Map<string, Promise<Film | null>>();

/** The film of an episode; null while it loads, and where there is none. */
export function useFilm(digest: string | null): Film | null {
  const [film, setFilm] = useState<Film | null>(null);
  useEffect(() => {
    let here = true;
    setFilm(null);
    if (digest !== null) void load(digest).then((found) => here && setFilm(found));
    return () => {
      here = false;
    };
  }, [digest]);
  return film;
}

function load(digest: string): Promise<Film | null> {
  const found = kept.get(digest);
  if (found !== undefined) return found;
  const loading = fetch(`films/${encodeURIComponent(digest)}`).then(async (answer) => (answer.ok ? read(await answer.arrayBuffer()) : null), () => null);
  kept.set(digest, loading);
  void loading.then((film) => film ?? kept.delete(digest));
  for (const [oldest, film] of kept) {
    if (kept.size <= MOST) break;
    kept.delete(oldest);
    void film.then((gone) => gone && [gone.whole, ...gone.pictures].forEach((one) => URL.revokeObjectURL(one)));
  }
  return loading;
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
