// The report of an evaluation, as far as it has what is shown. A bundle may come with any report, so everything is asked for.

export interface Point { readonly trials: number; readonly success: number; readonly low: number | null; readonly high: number | null }
export interface Method { readonly name: string; readonly curve: readonly Point[]; readonly types: readonly Method[] }
export interface Control { readonly name: string; readonly success: number; readonly low: number | null; readonly high: number | null; readonly instead: number | null }
export interface Report {
  readonly methods: readonly Method[]; readonly controls: readonly Control[];
  readonly manifest: string | null; readonly nTasks: number | null; readonly created: string | null;
}

const NAMES: Record<string, string> = {
  wtl: "this model", bayes: "best possible", bc: "without context", mil: "gradient steps (MIL)", replay: "replay of the demonstration",
  random: "random actions", expert: "expert",
};
const CONTROLS: Record<string, string> = {
  other_task_trial: "another task's trial", same_demo_other_target: "a trial for another target", flipped_reward: "its own trial, score flipped",
  other_task_demo: "another task's demonstration", other_type_demo: "another type's demonstration",
};

export const methodName = (name: string) => NAMES[name] ?? name;
export const controlName = (name: string) => CONTROLS[name] ?? name.replaceAll("_", " ");

type Tree = Record<string, unknown>;
const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null && !Array.isArray(value);
const number = (value: unknown): number | null => (typeof value === "number" && isFinite(value) ? value : null);
const text = (value: unknown): string | null => (typeof value === "string" ? value : null);

function interval(value: unknown): { low: number | null; high: number | null } {
  const [low, high] = Array.isArray(value) ? value : [];
  return { low: number(low), high: number(high) };
}

export function reportOf(given: unknown): Report | null {
  if (!isTree(given) || !isTree(given.methods)) return null;
  const methods = Object.entries(given.methods).map(([name, method]) => methodOf(name, isTree(method) ? method : {}));
  const controls = Object.entries(isTree(given.controls) ? given.controls : {}).flatMap(([name, control]) => {
    const success = isTree(control) ? number(control.success) : null;
    return !isTree(control) || success === null ? [] : [{ name, success, ...interval(control.ci95), instead: isTree(control.instead_of) ? number(control.instead_of.success) : null }];
  });
  return {
    methods: methods.filter((method) => method.curve.length > 0), controls,
    manifest: isTree(given.manifest) ? text(given.manifest.name) : null, nTasks: number(given.n_tasks), created: text(given.created),
  };
}

function methodOf(name: string, given: Tree): Method {
  const types = Object.entries(isTree(given.by_type) ? given.by_type : {}).map(([type, curve]) => methodOf(type, { curve }));
  return { name, curve: curveOf(given.curve), types };
}

function curveOf(given: unknown): Point[] {
  return (Array.isArray(given) ? given : []).flatMap((point) => {
    const success = isTree(point) ? number(point.success) : null;
    return !isTree(point) || success === null ? [] : [{ trials: number(point.trials) ?? 0, success, ...interval(point.ci95) }];
  });
}

/** What was measured while the model was trained. */
export function historyOf(provenance: unknown): { steps: number[]; loss: (number | null)[]; trial: (number | null)[]; retrial: (number | null)[] } | null {
  const rows = isTree(provenance) && Array.isArray(provenance.history) ? provenance.history.filter(isTree) : [];
  const steps = rows.map((row) => number(row.step));
  if (rows.length < 2 || steps.includes(null)) return null;
  const column = (name: string) => rows.map((row) => number(row[name]));
  return { steps: steps as number[], loss: column("loss"), trial: column("trial"), retrial: column("retrial") };
}

/** The leaves of a tree by their path, as `training.round_steps`. */
export function leaves(tree: unknown, path = ""): Map<string, string> {
  const found = new Map<string, string>();
  if (!isTree(tree)) return path ? found.set(path, JSON.stringify(tree)) : found;
  for (const [name, value] of Object.entries(tree)) for (const [at, leaf] of leaves(value, path ? `${path}.${name}` : name)) found.set(at, leaf);
  return found;
}

export function experimentOf(provenance: unknown): unknown {
  return isTree(provenance) ? (provenance.experiment ?? {}) : {};
}
