import type { Problem } from "./state";

/** What went wrong last, as the server or Play says it. */
export function Trouble({ problem }: { readonly problem: Problem }) {
  return (
    <div class={`notice ${problem.waiting ? "" : "bad"}`} role="alert">
      <strong>{problem.title}.</strong>{" "}
      {problem.waiting ? "Play keeps the episode and goes on as soon as the server is back." : problem.detail}
      {problem.field !== undefined && problem.expected && !problem.waiting && !problem.detail?.includes(`expected ${problem.expected}`) && <span> Field {problem.field}: expected {problem.expected}, got {problem.got}.</span>}
    </div>
  );
}
