// What the components here draw: one episode by the parts of its observations. Knows no API.

export type Numbers = readonly number[];

/** A part of an observation: `vector` is drawn as lines, and as a path too; `image` as a film strip. */
export interface Part {
  readonly name: string;
  readonly kind: "vector" | "image" | "category" | "text" | string;
  readonly shape: readonly number[];
}

export interface DrawnEpisode {
  readonly title: string;
  readonly role: "demo" | "trial";
  readonly parts: readonly Part[];
  /** By part: numbers [t + 1, n], or the addresses of pictures (data URIs). */
  readonly observations: Readonly<Record<string, readonly Numbers[] | readonly string[]>>;
  /** [t, a], or [t] for discrete actions. */
  readonly actions?: readonly Numbers[] | Numbers | null;
  readonly rewards?: Numbers | null;
  readonly success?: boolean | null;
  /** Step of each observation, if some were left out. */
  readonly steps?: Numbers;
  /** Step of each picture, which are fewer. */
  readonly pictureSteps?: Numbers;
}

export function isPictures(values: readonly Numbers[] | readonly string[] | undefined): values is readonly string[] {
  return values !== undefined && typeof values[0] === "string";
}

export function vectors(episode: DrawnEpisode, part: string): readonly Numbers[] {
  const values = episode.observations[part];
  return values === undefined || isPictures(values) ? [] : values;
}

/** The steps that the observations of a part stand at. */
export function stepsOf(episode: DrawnEpisode, length: number): Numbers {
  return episode.steps ?? Array.from({ length }, (_, i) => i);
}

/** Columns of rows: component i over time. */
export function columns(rows: readonly Numbers[]): number[][] {
  return (rows[0] ?? []).map((_, i) => rows.map((row) => row[i] ?? NaN));
}

export function totalReward(episode: DrawnEpisode): number | null {
  return episode.rewards == null ? null : episode.rewards.reduce((sum, one) => sum + one, 0);
}
