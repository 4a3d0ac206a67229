import { useState } from "preact/hooks";
import { FilmStrip } from "./FilmStrip";
import { Legend, type Line, Lines } from "./Lines";
import { pathColour, Paths } from "./Paths";
import { N_SERIES } from "./palette";
import { columns, type DrawnEpisode, isPictures, type Numbers, type Part, stepsOf, vectors } from "./episode";

/** One episode: each part as what it is, then actions and rewards. */
export function EpisodeView({ episode }: { readonly episode: DrawnEpisode }) {
  const actions = episode.actions ?? [];
  return (
    <div class="episode-view">
      {episode.parts.map((part) => <PartView key={part.name} episode={episode} part={part} />)}
      {actions.length > 0 && <Vector title="actions" of={episode.title} steps={stepsOf(episode, actions.length).slice(0, actions.length)} rows={asRows(actions)} />}
      {episode.rewards != null && episode.rewards.length > 0 &&
        <Vector title="rewards" of={episode.title} steps={stepsOf(episode, episode.rewards.length).slice(0, episode.rewards.length)} rows={asRows(episode.rewards)} />}
    </div>
  );
}

function PartView({ episode, part }: { readonly episode: DrawnEpisode; readonly part: Part }) {
  const values = episode.observations[part.name];
  if (isPictures(values)) {
    return (
      <figure>
        <figcaption>{part.name} <small>{part.shape.join(" x ")}</small></figcaption>
        <FilmStrip label={`${part.name} of ${episode.title}`} pictures={values} steps={episode.pictureSteps ?? stepsOf(episode, values.length)} />
      </figure>
    );
  }
  const rows = vectors(episode, part.name);
  if (rows.length === 0) return null;
  return <Vector title={part.name} of={episode.title} steps={stepsOf(episode, rows.length)} rows={rows} />;
}

/** Components over time, as many at once as there are colours for. */
function Vector({ title, of, steps, rows }: { readonly title: string; readonly of: string; readonly steps: Numbers; readonly rows: readonly Numbers[] }) {
  const [first, setFirst] = useState(0);
  const all = columns(rows);
  const shown = all.slice(first, first + N_SERIES);
  const lines: Line[] = shown.map((values, i) => ({ label: all.length === 1 ? title : `${title}[${first + i}]`, values: values.map((v) => (isFinite(v) ? v : null)), colour: i }));
  return (
    <figure>
      <figcaption>
        {title} <small>{all.length === 1 ? "one number" : `${all.length} numbers`} over {rows.length} steps</small>
        {all.length > N_SERIES && (
          <span class="pager">
            <button type="button" class="quiet" disabled={first === 0} onClick={() => setFirst(first - N_SERIES)} aria-label={`earlier components of ${title}`}>‹</button>
            {first}–{Math.min(first + N_SERIES, all.length) - 1}
            <button type="button" class="quiet" disabled={first + N_SERIES >= all.length} onClick={() => setFirst(first + N_SERIES)} aria-label={`later components of ${title}`}>›</button>
          </span>
        )}
      </figcaption>
      <Lines label={`${title} of ${of} over time`} x={steps} lines={lines} height={150} whole />
      {lines.length > 1 && <Legend lines={lines} />}
    </figure>
  );
}

function asRows(values: readonly Numbers[] | Numbers): readonly Numbers[] {
  return (values as readonly (Numbers | number)[]).map((one) => (typeof one === "number" ? [one] : one));
}

function legendOf(episodes: readonly DrawnEpisode[]): Line[] {
  return episodes.map((one, i) => ({ label: one.title, values: [], dashed: one.role === "demo", colour: pathColour(episodes, i) - 1 }));
}

/** All episodes of a part in one plane. */
export function Overview({ episodes, part }: { readonly episodes: readonly DrawnEpisode[]; readonly part: Part }) {
  return (
    <figure class="overview">
      <Paths label={`paths of ${episodes.map((one) => one.title).join(", ")}`} episodes={episodes} part={part.name} />
      <Legend lines={legendOf(episodes)} />
      <figcaption>
        {part.name}[0] across, {part.name}[1] up. Dashed: demonstration; solid: trial. Ring: start; disc: success; cross: failure.
      </figcaption>
    </figure>
  );
}
