import type { Schemas } from "../api/client";
import { Card, percent, Table } from "../parts/ui";
import { Curves, rate } from "./Curve";
import { controlName, experimentOf, leaves, reportOf } from "./report";

/** Two versions side by side: what they reach, and in which settings they differ. */
export function Compare({ left, right }: { readonly left: Schemas["ModelCard"]; readonly right: Schemas["ModelCard"] }) {
  const [a, b] = [reportOf(left.report), reportOf(right.report)];
  const of = (report: typeof a) => report?.methods.find((method) => method.name === "wtl")?.curve ?? [];
  const trials = [...new Set([...of(a), ...of(b)].map((point) => point.trials))].sort((x, y) => x - y);
  const controls = [...new Set([...(a?.controls ?? []), ...(b?.controls ?? [])].map((control) => control.name))];
  const head = ["", `#v${left.version}`, `#v${right.version}`];
  return (
    <>
      <Card wide title={`v${left.version} beside v${right.version}`}>
        <Curves named={[{ name: `v${left.version}`, methods: a?.methods ?? [] }, { name: `v${right.version}`, methods: b?.methods ?? [] }]} />
        {[{ card: left, report: a }, { card: right, report: b }].map(({ card, report }) => report === null && <p key={card.version} class="notice warn">v{card.version} was not evaluated: <code>wtl evaluate BUNDLE</code></p>)}
        {a && b && a.manifest !== b.manifest && <p class="notice warn">They were measured on different tasks ({a.manifest ?? "of no manifest"} and {b.manifest ?? "of no manifest"}): the figures cannot be compared.</p>}
        <Table label="Success of both" head={[...head, "#difference"]}>
          {trials.map((n) => {
            const [x, y] = [of(a).find((point) => point.trials === n), of(b).find((point) => point.trials === n)];
            return (
              <tr key={n}>
                <th scope="row">{n === 0 ? "without a trial" : `after ${n}`}</th>
                <td class="number">{rate(x)}</td><td class="number">{rate(y)}</td>
                <td class="number">{x && y ? `${y.success >= x.success ? "+" : "−"}${percent(Math.abs(y.success - x.success))}` : "–"}</td>
              </tr>
            );
          })}
          {controls.map((name) => (
            <tr key={name}>
              <th scope="row">{controlName(name)}</th>
              <td class="number">{rate(a?.controls.find((one) => one.name === name))}</td>
              <td class="number">{rate(b?.controls.find((one) => one.name === name))}</td><td />
            </tr>
          ))}
        </Table>
      </Card>
      <Card wide title="Settings that differ"><Differences left={left} right={right} head={head} /></Card>
    </>
  );
}

function Differences({ left, right, head }: { readonly left: Schemas["ModelCard"]; readonly right: Schemas["ModelCard"]; readonly head: readonly string[] }) {
  const [a, b] = [leaves(experimentOf(left.provenance)), leaves(experimentOf(right.provenance))];
  const differing = [...new Set([...a.keys(), ...b.keys()])].filter((at) => a.get(at) !== b.get(at)).sort();
  if (differing.length === 0) return <p class="quiet">Both were made with the same settings.</p>;
  return (
    <Table label="Settings that differ" head={["setting", ...head.slice(1).map((name) => name.slice(1))]}>
      {differing.map((at) => <tr key={at}><th scope="row"><code>{at}</code></th><td class="break">{a.get(at) ?? "–"}</td><td class="break">{b.get(at) ?? "–"}</td></tr>)}
    </Table>
  );
}
