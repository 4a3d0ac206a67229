import { useEffect, useState } from "preact/hooks";
import { useFilm } from "./films";
import { type PlayedEpisode, type Send, type State, count } from "./state";

interface Properties {
  readonly state: State;
  readonly send: Send;
}

/** Every episode that the adaptation has learned from; one can be opened, trimmed, scored again or deleted. */
export function Episodes({ state, send }: Properties) {
  const [open, setOpen] = useState<string | null>(null);
  if (state.episodes.length === 0) return null;
  const opened = state.episodes.find((one) => key(one) === open);
  return (
    <section class="episodes" aria-label="episodes">
      <h2>What it has learned from</h2>
      <ol>
        {state.episodes.map((episode) => (
          <li key={key(episode)}>
            <button type="button" class="card" aria-expanded={open === key(episode)} onClick={() => setOpen(open === key(episode) ? null : key(episode))}>
              <Thumbnail episode={episode} />
              <span class="name">{nameOf(episode)}</span>
              <Outcome success={episode.success} />
              <small>{count(episode.steps, "step")}</small>
            </button>
          </li>
        ))}
      </ol>
      {opened !== undefined && <Editor key={opened.digest} episode={opened} state={state} send={send} close={() => setOpen(null)} />}
    </section>
  );
}

export function nameOf(episode: PlayedEpisode): string {
  return `${episode.role === "demo" ? "Demonstration" : "Attempt"} ${episode.number + 1}`;
}

export function Outcome({ success }: { readonly success: boolean | null }) {
  if (success === null) return <span class="outcome">not scored</span>;
  return <span class={`outcome ${success ? "good" : "bad"}`}>{success ? "✓ success" : "✕ failure"}</span>;
}

function key(episode: PlayedEpisode): string {
  return `${episode.role}-${episode.number}`;
}

/** The whole way in one picture; an episode without a film is drawn from its numbers. */
function Thumbnail({ episode }: { readonly episode: PlayedEpisode }) {
  const film = useFilm(episode.film ? episode.digest : null);
  if (film !== null) return <img src={film.whole} alt="" />;
  return (
    <svg class="numbers" viewBox="0 0 100 100" aria-hidden="true">
      {episode.lines.map((line, i) => (
        <polyline key={i} class={`series-${i + 1}`} points={line.map((y, x) => `${(6 + (88 * x) / Math.max(1, line.length - 1)).toFixed(1)},${(92 - 84 * y).toFixed(1)}`).join(" ")} />
      ))}
    </svg>
  );
}

/** One episode step by step, and what can be changed about it. */
function Editor({ episode, state, send, close }: Properties & { readonly episode: PlayedEpisode; readonly close: () => void }) {
  const film = useFilm(episode.film ? episode.digest : null);
  const [start, setStart] = useState(0);
  const [end, setEnd] = useState(episode.steps);
  const [at, setAt] = useState(0);
  const free = state.phase === "ready";
  const change = (what: object) => {
    send({ do: "edit", role: episode.role, number: episode.number, ...what });
    close();
  };
  useEffect(() => {
    const closing = (event: KeyboardEvent) => event.key === "Escape" && close();
    document.addEventListener("keydown", closing);
    return () => document.removeEventListener("keydown", closing);
  }, []);
  return (
    <div class="editor" role="group" aria-label={`change ${nameOf(episode)}`}>
      {film !== null && <img src={film.pictures[Math.min(at, film.pictures.length - 1)]} alt={`step ${at}`} />}
      <div>
        <h3>{nameOf(episode)} <Outcome success={episode.success} /></h3>
        <label>first step <input type="range" min={0} max={episode.steps - 1} value={start} onInput={(event) => { const v = Math.min(Number(event.currentTarget.value), end - 1); setStart(v); setAt(v); }} /><output>{start}</output></label>
        <label>last step <input type="range" min={1} max={episode.steps} value={end} onInput={(event) => { const v = Math.max(Number(event.currentTarget.value), start + 1); setEnd(v); setAt(v); }} /><output>{end}</output></label>
        <div class="row">
          <button type="button" disabled={!free || (start === 0 && end === episode.steps)} onClick={() => change({ trim: [start, end] })}>Trim to {count(end - start, "step")}</button>
          <button type="button" disabled={!free} onClick={() => change({ success: episode.success !== true })}>Score it a {episode.success === true ? "failure" : "success"}</button>
          <button type="button" class="bad" disabled={!free} onClick={() => change({ delete: true })}>Delete</button>
          <button type="button" class="quiet" onClick={close}>Close</button>
        </div>
        <p class="quiet">A change makes an edited copy of this adaptation. The one before stays on the server: “back” in the browser leads to it.</p>
      </div>
    </div>
  );
}
