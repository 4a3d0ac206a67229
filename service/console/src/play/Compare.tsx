import { useEffect, useState } from "preact/hooks";
import { nameOf, Outcome } from "./Episodes";
import { useFilm } from "./films";
import type { PlayedEpisode, State } from "./state";

/** The first attempt and the newest one, side by side and in step. */
export function Compare({ state }: { readonly state: State }) {
  const trials = state.episodes.filter((one) => one.role === "trial");
  const first = trials[0], last = trials[trials.length - 1];
  const key = `${first?.digest} ${last?.digest}`;
  const n = Math.max(first?.steps ?? 0, last?.steps ?? 0);
  const [step, setStep] = useState(0);
  const [playing, setPlaying] = useState(true);
  useEffect(() => {
    setStep(0);
    setPlaying(true);
  }, [key]);
  useEffect(() => {
    if (!playing || trials.length < 2) return;
    const timer = setTimeout(() => {
      if (step >= n) setPlaying(false);
      else setStep(step + 1);
    }, 1000 / state.pace);
    return () => clearTimeout(timer);
  }, [playing, step, n, key]);
  if (first === undefined || last === undefined || trials.length < 2) return null;
  return (
    <section class="compare" aria-label="the first attempt and the newest">
      <h2>Before and after</h2>
      <div class="pair">
        <Replay episode={first} step={step} />
        <Replay episode={last} step={step} />
      </div>
      <div class="row">
        <button type="button" class="quiet" onClick={() => { if (step >= n) setStep(0); setPlaying(!playing); }}>{playing ? "Pause" : "Play"}</button>
        <input type="range" aria-label="step of both" min={0} max={n} value={step} onInput={(event) => { setPlaying(false); setStep(Number(event.currentTarget.value)); }} />
        <output>{step}</output>
      </div>
    </section>
  );
}

function Replay({ episode, step }: { readonly episode: PlayedEpisode; readonly step: number }) {
  const film = useFilm(episode.film ? episode.digest : null);
  const ended = step >= episode.steps;
  return (
    <figure class={ended ? (episode.success ? "good" : "bad") : ""}>
      {film === null ? <div class="blank">no film of this one</div> : <img src={ended ? film.whole : film.pictures[step]} alt={`${nameOf(episode)}, step ${Math.min(step, episode.steps)}`} />}
      <figcaption>{nameOf(episode)} <Outcome success={episode.success} /></figcaption>
    </figure>
  );
}
