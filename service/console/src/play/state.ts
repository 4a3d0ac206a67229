// What a player shows, as `wtl/play/view.py` makes it, and the commands that it takes, as `wtl/play/commands.py` reads them.

import type { Asked } from "../parts/asks";

export type Phase = "ready" | "demo" | "attempt" | "review" | "score" | "saving" | "broken";
export type Who = "person" | "expert" | "policy";
export type Role = "demo" | "trial";

export interface Axis {
  readonly low: number;
  readonly high: number;
  readonly whole: boolean;
}

export interface Controls {
  readonly kind: "pointer" | "keys" | "axes";
  readonly keys: readonly { readonly action: number; readonly key: string; readonly other: string | null }[];
  readonly axes: readonly Axis[];
  readonly follows: boolean;
  readonly choices: readonly number[];
}

export interface Believed {
  readonly probabilities: readonly number[];
  readonly entropy_bits: number;
}

/** A kind of ask that the model was trained for, with the range of its numbers in training. */
export interface Offer {
  readonly kind: string;
  readonly accepts: string;
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly examples: readonly unknown[];
}

export interface Asking {
  readonly offers: readonly Offer[];
  readonly asked: Asked;
  readonly warnings: readonly string[];
  /** Whether a place in the picture is a goal, and where in it the goal is. */
  readonly points: boolean;
  readonly place: readonly [number, number] | null;
}

export interface VersionRow {
  readonly version: number;
  readonly n_demos: number;
  readonly n_trials: number;
  readonly ask: Asked;
  readonly belief: Believed | null;
  readonly confidence: number | null;
  readonly value_of_trial: number | null;
}

export interface PlayedEpisode {
  readonly role: Role;
  readonly number: number;
  readonly digest: string;
  readonly steps: number;
  readonly success: boolean | null;
  readonly reward: number | null;
  readonly film: boolean;
  readonly lines: readonly (readonly number[])[];
}

export interface Problem {
  readonly title: string;
  readonly detail?: string;
  readonly field?: string;
  readonly expected?: string;
  readonly got?: string;
  readonly waiting?: boolean;
}

export interface Origin {
  readonly id: string;
  readonly version: number;
}

export interface Adaptation {
  readonly id: string;
  readonly version: number;
  readonly belief: Believed | null;
  readonly confidence: number | null;
  readonly value_of_trial: number | null;
  readonly novelty: number | null;
  readonly expires_at: string;
  readonly history: readonly VersionRow[];
  /** As the server has it; and as this page knows it, which may have edited the first version of another one. */
  readonly forked_from: Origin | null;
  readonly edited_from: Origin | null;
}

export interface State {
  readonly type: "state";
  readonly family: string;
  readonly families: readonly string[];
  readonly task: number;
  readonly tasks: readonly [number, number];
  readonly model: { readonly name: string; readonly version: number };
  readonly models: readonly string[];
  readonly horizon: number;
  readonly rate_hz: number;
  readonly pace: number;
  readonly controls: Controls;
  readonly expert: boolean;
  readonly phase: Phase;
  readonly who: Who;
  readonly running: boolean;
  readonly episode: { readonly scene: Role; readonly step: number; readonly reward: number; readonly success: boolean | null; readonly over: boolean };
  readonly asking: Asking;
  readonly adaptation: Adaptation | null;
  readonly episodes: readonly PlayedEpisode[];
  readonly exports: readonly { readonly kind: string; readonly title: string }[];
  readonly problem: Problem | null;
}

export type Command = { readonly do: string } & Readonly<Record<string, unknown>>;
export type Send = (command: Command) => void;

/** Whether a person steers now. */
export function steering(state: State): boolean {
  return state.who === "person" && (state.phase === "demo" || state.phase === "attempt");
}

export function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

export function count(n: number, one: string): string {
  return `${n} ${one}${n === 1 ? "" : "s"}`;
}
