import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Problem } from "../api/client";

export interface Loaded<T> {
  readonly data: T | null;
  readonly problem: Problem | null;
  readonly loading: boolean;
  readonly reload: () => void;
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem("The page failed", error instanceof Error ? error.message : String(error), -1);
}

const AGAIN_MS = 3000;

/**
 * What `load` gives, again every so many milliseconds, and while the server does not answer. What is old stays until it is
 * replaced; when one of `inputs` changes it is about something else, and is gone.
 */
export function useLoad<T>(load: () => Promise<T>, inputs: readonly unknown[], everyMs = 0): Loaded<T> {
  const [state, setState] = useState<{ data: T | null; problem: Problem | null; loading: boolean }>({ data: null, problem: null, loading: true });
  const turn = useRef(0);
  const latest = useRef(load);
  latest.current = load;
  const run = useCallback(() => {
    const own = ++turn.current;
    setState((before) => ({ ...before, loading: true }));
    latest.current().then(
      (data) => own === turn.current && setState({ data, problem: null, loading: false }),
      (error: unknown) => {
        if (own !== turn.current) return;
        const problem = asProblem(error);
        setState((before) => ({ data: before.data, problem, loading: false }));
        if (problem.status === 0) setTimeout(() => own === turn.current && run(), AGAIN_MS);
      },
    );
  }, []);
  useEffect(() => {
    setState({ data: null, problem: null, loading: true });
    run();
    const timer = everyMs ? setInterval(() => document.hidden || run(), everyMs) : 0;
    return () => {
      turn.current += 1;
      clearInterval(timer);
    };
  }, [...inputs, everyMs]);
  return { ...state, reload: run };
}

/** Something that a person asks for: whether it is under way, and what was refused. */
export function useAction(): { run: (action: () => Promise<void>) => Promise<void>; busy: boolean; problem: Problem | null; clear: () => void } {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = async (action: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    try {
      await action();
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };
  return { run, busy, problem, clear: () => setProblem(null) };
}
