// The events of a training job, as they happen: replayed from the start after a reload, resumed after a lost connection.
import { root } from "./client";

export interface JobEvent {
  readonly number: number;
  readonly kind: "state" | "progress";
  readonly at: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const AGAIN_MS = 1500;
const ENDED = new Set(["succeeded", "failed", "stopped"]);

/** Calls `seen` with each event once, in order, until the job ends; returns what ends it earlier. */
export function follow(job: string, seen: (event: JobEvent) => void, connected: (is: boolean) => void): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let last = 0;
  let over = false;
  const take = (kind: JobEvent["kind"]) => (message: MessageEvent<string>) => {
    const number = Number(message.lastEventId);
    if (number <= last) return; // after a lost connection the server may tell all of it again
    last = number;
    const { at, ...data } = JSON.parse(message.data) as { at: string };
    seen({ number, kind, at, data });
    if (kind === "state" && ENDED.has((data as { state?: string }).state ?? "")) stop();
  };
  const stop = () => {
    over = true;
    clearTimeout(timer);
    source?.close();
    connected(true);
  };
  const open = () => {
    source = new EventSource(`${root}/v1/training-jobs/${encodeURIComponent(job)}/events`);
    source.addEventListener("state", take("state"));
    source.addEventListener("progress", take("progress"));
    source.onopen = () => connected(true);
    source.onerror = () => {
      if (over) return;
      connected(false);
      source?.close(); // a server that starts again answers 502 or refuses: browsers would give up after some of these
      timer = window.setTimeout(open, AGAIN_MS);
    };
  };
  open();
  return stop;
}
