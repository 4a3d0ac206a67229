// The metrics of one server, in Prometheus' text format, as numbers.
import { ask, problemOf } from "./client";

export interface Sample { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly value: number }
export interface Metrics { readonly at: number; readonly samples: readonly Sample[] }

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export async function readMetrics(): Promise<Metrics> {
  const answer = await ask("/metrics");
  if (!answer.ok) throw await problemOf(answer);
  return { at: performance.now() / 1000, samples: parse(await answer.text()) };
}

export function parse(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) return [];
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name!, value!.replace(/\\(.)/g, "$1")]));
    return [{ name: found[1]!, labels, value: Number(found[3]) }];
  });
}

export function sum(metrics: Metrics, name: string, where: Record<string, string> = {}): number {
  return of(metrics, name, where).reduce((total, one) => total + one.value, 0);
}

export function of(metrics: Metrics, name: string, where: Record<string, string> = {}): Sample[] {
  return metrics.samples.filter((one) => one.name === name && Object.entries(where).every(([label, value]) => one.labels[label] === value));
}

export function values(metrics: Metrics, name: string, label: string): string[] {
  return [...new Set(of(metrics, name).map((one) => one.labels[label] ?? ""))];
}

/** The value below which a share of the observations of a histogram lie, in its unit; null if there are none. */
export function quantile(metrics: Metrics, name: string, share: number, where: Record<string, string> = {}): number | null {
  const counts = new Map<number, number>();
  for (const one of of(metrics, `${name}_bucket`, where)) {
    const bound = one.labels.le === "+Inf" ? Infinity : Number(one.labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + one.value);
  }
  const buckets = [...counts].sort(([a], [b]) => a - b);
  const total = buckets[buckets.length - 1]?.[1] ?? 0;
  if (total === 0) return null;
  let below = 0, from = 0;
  for (const [bound, count] of buckets) {
    if (count >= share * total) return bound === Infinity ? from : from + (bound - from) * ((share * total - below) / Math.max(count - below, 1));
    [below, from] = [count, bound];
  }
  return null;
}
