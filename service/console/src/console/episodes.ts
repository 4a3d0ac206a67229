// Episodes as the API gives them, as the drawings want them.
import type { Schemas } from "../api/client";
import type { DrawnEpisode, Numbers, Part } from "../drawing";

type Stored = Schemas["StoredEpisode"];
type Card = Schemas["ModelCard"];
type Values = Numbers[] | string[];

/** The parts of a model's observations; the only one of a plain observation has a name to show. */
export function partsOf(card: Card): Part[] {
  return card.parts.map((part) => ({ name: part.name || "observation", kind: part.kind, shape: part.shape }));
}

export function drawn(episode: Stored, card: Card): DrawnEpisode {
  const parts = partsOf(card);
  const given = episode.observations as unknown;
  const named = (Array.isArray(given) ? { [parts[0]?.name ?? "observation"]: given } : given) as Record<string, unknown[]>;
  return {
    title: `${episode.role === "demo" ? "demonstration" : "trial"} ${episode.index + 1}`,
    role: episode.role,
    parts,
    observations: Object.fromEntries(Object.entries(named).map(([name, values]) => [name, values.map(flat) as Values])),
    actions: episode.actions == null ? null : (episode.actions as unknown[]).map((one) => (Array.isArray(one) ? one.flat(Infinity) : [one])) as number[][],
    rewards: episode.rewards as number[] | null,
    success: episode.success,
    steps: episode.steps,
    pictureSteps: episode.picture_steps,
  };
}

/** The part whose first two numbers are drawn as a path: one of two numbers if there is one. */
export function planar(parts: readonly Part[]): Part | null {
  const vectors = parts.filter((part) => part.kind === "vector" && part.shape.reduce((a, b) => a * b, 1) >= 2);
  return vectors.find((part) => part.shape.length === 1 && part.shape[0] === 2) ?? vectors[0] ?? null;
}

function flat(value: unknown): unknown {
  return Array.isArray(value) ? value.flat(Infinity) : typeof value === "number" ? [value] : value;
}
