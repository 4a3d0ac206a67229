interface Properties {
  readonly probabilities: readonly number[];
  /** Those before what was learned last: a line across each bar. */
  readonly before?: readonly number[] | null;
}

const WIDTH = 30;
const HEIGHT = 44;
const MOST = 12;

/** A small bar for each hypothesis; of many, for the most probable ones. */
export function Belief({ probabilities, before }: Properties) {
  const all = probabilities.map((now, i) => ({ i, now, then: before?.length === probabilities.length ? before[i]! : null }));
  const shown = all.length <= MOST ? all : all.toSorted((a, b) => b.now - a.now).slice(0, MOST).sort((a, b) => a.i - b.i);
  const label = `probability of each hypothesis: ${shown.map(({ i, now }) => `${i + 1}: ${Math.round(100 * now)} %`).join(", ")}`;
  return (
    <svg class="belief" viewBox={`0 0 ${WIDTH * Math.max(6, shown.length)} ${HEIGHT + 30}`} role="img" aria-label={label}>
      {shown.map(({ i, now, then }, place) => {
        const x = place * WIDTH + 3, top = 13 + HEIGHT * (1 - now);
        return (
          <g key={i}>
            <rect class="room" x={x} y={13} width={WIDTH - 6} height={HEIGHT} rx="2" />
            <rect x={x} y={top} width={WIDTH - 6} height={HEIGHT * now} rx="2" />
            {then !== null && Math.abs(then - now) > 0.005 && <line x1={x - 2} x2={x + WIDTH - 4} y1={13 + HEIGHT * (1 - then)} y2={13 + HEIGHT * (1 - then)} />}
            <text x={x + WIDTH / 2 - 3} y={9}>{Math.round(100 * now)}</text>
            <text class="below" x={x + WIDTH / 2 - 3} y={HEIGHT + 25}>{i + 1}</text>
          </g>
        );
      })}
    </svg>
  );
}

/** What the entropy of a belief means, in words. */
export function openly(entropyBits: number, n: number): string {
  if (n === 1) return "This model has one hypothesis: nothing is left open.";
  if (entropyBits < 0.1) return "One hypothesis is as good as certain.";
  return `${entropyBits.toFixed(1)} bits are open, as between ${(2 ** entropyBits).toFixed(1)} equally probable ones of ${n}.`;
}
