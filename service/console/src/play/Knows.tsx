import { Belief, openly } from "../drawing";
import { asks } from "../parts/asks";
import { type Adaptation, type State, type VersionRow, percent } from "./state";

/** What the policy believes of the task; how sure it is of the next attempt, version by version, and what another trial would add. */
export function Knows({ state }: { readonly state: State }) {
  const { adaptation } = state;
  if (adaptation === null) return null;
  const { belief, confidence, value_of_trial: value } = adaptation;
  const aimed = "goal" in state.asking.asked; // calibration knows only goals that are the task's, each in one layout
  return (
    <section class="knows" aria-label="what it knows">
      {belief !== null && (
        <>
          <h2>What it believes</h2>
          <Belief probabilities={belief.probabilities} before={adaptation.history[adaptation.history.length - 2]?.belief?.probabilities ?? null} />
          <p class="quiet">How probable each way to understand you is{adaptation.history.length > 1 && "; a line: one version before"}. {openly(belief.entropy_bits, belief.probabilities.length)}</p>
        </>
      )}
      <h2>How sure it is</h2>
      {confidence === null ? <p class="quiet">{asks(state.asking.asked) ? "It cannot say how sure it is of what it is asked for: this model was not calibrated for that." : "This model is not calibrated, so it cannot say."}</p> : (
        <>
          <Bars rows={adaptation.history} />
          <p>
            <strong>{percent(confidence)}</strong> that the next attempt succeeds{aimed && ", if this goal is what the task is about"}.{" "}
            {value !== null && !aimed && (value > 0.02 ? <>A trial before it would add <strong>{Math.round(100 * value)} points</strong>.</> : "Another trial would tell it nothing new.")}
          </p>
          <Unusual adaptation={adaptation} />
        </>
      )}
    </section>
  );
}

function Unusual({ adaptation: { novelty } }: { readonly adaptation: Adaptation }) {
  if (novelty === null || novelty < 0.99) return null;
  return <p class="warning">The demonstration is unlike any that the model was trained on.</p>;
}

const HEIGHT = 96;
const WIDTH = 34;

function Bars({ rows }: { readonly rows: readonly VersionRow[] }) {
  const shown = rows.slice(-8);
  const label = shown.map((row) => `${named(row)}: ${row.confidence === null ? "unknown" : percent(row.confidence)}`).join(", ");
  return (
    <svg class="bars" viewBox={`0 0 ${8 * WIDTH} ${HEIGHT + 34}`} role="img" aria-label={label}>
      <line x1="0" y1={16 + HEIGHT} x2={8 * WIDTH} y2={16 + HEIGHT} />
      {shown.map((row, i) => {
        const height = HEIGHT * (row.confidence ?? 0);
        return (
          <g key={row.version} class={i === shown.length - 1 ? "newest" : ""}>
            <rect x={i * WIDTH + 5} y={16 + HEIGHT - height} width={WIDTH - 10} height={height} rx="3" />
            <text x={i * WIDTH + WIDTH / 2} y={12 + HEIGHT - height}>{row.confidence === null ? "?" : Math.round(100 * row.confidence)}</text>
            <text class="below" x={i * WIDTH + WIDTH / 2} y={HEIGHT + 31}>{changed(row, shown[i - 1])}</text>
          </g>
        );
      })}
    </svg>
  );
}

/** What a version has that the one before had not. */
function changed(row: VersionRow, before: VersionRow | undefined): string {
  const asked = before === undefined ? asks(row.ask) : JSON.stringify(row.ask) !== JSON.stringify(before.ask);
  if (asked && row.n_trials === (before?.n_trials ?? 0) && row.n_demos === (before?.n_demos ?? 0)) return "asked";
  if (row.n_trials === 0) return row.n_demos > 0 ? "shown" : "–";
  return `${row.n_trials} ${row.n_trials === 1 ? "try" : "tries"}`;
}

function named(row: VersionRow): string {
  return `after ${row.n_demos} demonstrations and ${row.n_trials} trials${asks(row.ask) ? `, asked for ${Object.keys(row.ask).join(", ")}` : ""}`;
}
