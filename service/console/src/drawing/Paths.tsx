import { type DrawnEpisode, type Numbers, vectors } from "./episode";

interface Properties {
  readonly label: string;
  readonly episodes: readonly DrawnEpisode[];
  readonly part: string;
  /** The two components that are drawn across and up. */
  readonly axes?: readonly [number, number];
  /** Draw each path up to this observation only, as a replay does. */
  readonly upTo?: number;
}

const SIZE = 200;
const MARGIN = 14;

/** Paths in the plane, on one scale: demonstrations dashed, trials solid; a ring where one began, and its outcome at its end. */
export function Paths({ label, episodes, part, axes = [0, 1], upTo }: Properties) {
  const drawn = episodes.map((episode) => ({ episode, points: points(vectors(episode, part), axes) }));
  const place = placing(drawn.flatMap((one) => one.points));
  return (
    <svg class="paths" viewBox={`0 0 ${SIZE} ${SIZE}`} role="img" aria-label={label}>
      {drawn.map(({ episode, points: all }, i) => {
        const shown = (upTo === undefined ? all : all.slice(0, upTo + 1)).map(place);
        const ended = upTo === undefined || upTo >= all.length - 1;
        const at = pathColour(episodes, i);
        return shown.length === 0 ? null : (
          <g key={i} class={`path series-${at} ${episode.role}`}>
            <title>{episode.title}</title>
            <polyline points={shown.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ")} />
            <circle class="start" cx={shown[0]![0]} cy={shown[0]![1]} r="3.5" />
            {ended ? <End at={shown[shown.length - 1]!} success={episode.success ?? null} />
              : <circle class="now" cx={shown[shown.length - 1]![0]} cy={shown[shown.length - 1]![1]} r="4.5" />}
          </g>
        );
      })}
    </svg>
  );
}

/** The colour of an episode, from 1: the first for demonstrations, the others for trials in turn. */
export function pathColour(episodes: readonly DrawnEpisode[], i: number): number {
  if (episodes[i]?.role !== "trial") return 1;
  return (episodes.slice(0, i).filter((one) => one.role === "trial").length % 5) + 2;
}

function End({ at: [x, y], success }: { readonly at: readonly [number, number]; readonly success: boolean | null }) {
  if (success === false) return <path class="end" d={`M${x - 4} ${y - 4} l8 8 m0 -8 l-8 8`} />;
  return <circle class={success === null ? "end unknown" : "end reached"} cx={x} cy={y} r="5" />;
}

function points(rows: readonly Numbers[], [across, up]: readonly [number, number]): (readonly [number, number])[] {
  return rows.map((row) => [row[across] ?? NaN, row[up] ?? NaN] as const).filter(([x, y]) => isFinite(x) && isFinite(y));
}

function placing(all: readonly (readonly [number, number])[]) {
  const xs = all.map(([x]) => x), ys = all.map(([, y]) => y);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = (SIZE - 2 * MARGIN) / Math.max(right - left, high - low, 1e-9);
  return ([x, y]: readonly [number, number]): [number, number] => [
    SIZE / 2 + (x - (left + right) / 2) * scale,
    SIZE / 2 - (y - (low + high) / 2) * scale,
  ];
}
