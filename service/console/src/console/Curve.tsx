import { Legend, type Line, Lines } from "../drawing";
import { Card, percent, Table } from "../parts/ui";
import { controlName, type Method, methodName, type Point, type Report } from "./report";

const DRAWN = ["wtl", "bayes", "bc", "mil", "replay", "random"];
const LIMIT = ["bayes"];

/** Success after 0, 1, 2, ... trials, with 95 % intervals, the bound, and what there is to compare it with. */
export function Curves({ named }: { readonly named: readonly { readonly name: string; readonly methods: readonly Method[] }[] }) {
  const several = named.length > 1;
  const drawn = named.flatMap(({ name, methods }, i) => methods
    .filter((method) => (several ? method.name === "wtl" || (i === 0 && LIMIT.includes(method.name)) : DRAWN.includes(method.name)))
    .sort((a, b) => DRAWN.indexOf(a.name) - DRAWN.indexOf(b.name))
    .map((method) => ({ label: several && method.name === "wtl" ? name : methodName(method.name), method, dashed: LIMIT.includes(method.name) })));
  const trials = [...new Set(drawn.flatMap(({ method }) => method.curve.map((point) => point.trials)))].sort((a, b) => a - b);
  const alone = trials.length < 2;
  const lines: Line[] = drawn.map(({ label, method, dashed }, i) => ({
    label, dashed, colour: i, points: alone, values: along(trials, method.curve, "success"),
    ...(dashed ? {} : { low: along(trials, method.curve, "low"), high: along(trials, method.curve, "high") }),
  }));
  if (lines.length === 0) return null;
  const said = drawn.map(({ label, method }) => `${label}: ${method.curve.map((point) => percent(point.success)).join(", ")}`).join("; ");
  return (
    <figure>
      <Lines label={`Success after ${trials.join(", ")} trials. ${said}`} x={alone ? [-0.5, 0, 0.5] : trials} height={230} range={[0, 1]} whole format={(value) => `${Math.round(value * 100)} %`}
        lines={alone ? lines.map((line) => ({ ...line, values: [null, ...line.values, null], low: [null, ...(line.low ?? [null]), null], high: [null, ...(line.high ?? [null]), null] })) : lines} />
      <Legend lines={lines} />
      <figcaption>Success on test tasks after {alone ? "no trial" : `${trials[0]} to ${trials[trials.length - 1]} trials`}; bands are 95 % intervals.</figcaption>
    </figure>
  );
}

function along(trials: readonly number[], curve: readonly Point[], what: "success" | "low" | "high"): (number | null)[] {
  return trials.map((n) => curve.find((point) => point.trials === n)?.[what] ?? null);
}

export function rate(point: { readonly success: number; readonly low: number | null; readonly high: number | null } | undefined) {
  if (point === undefined) return <>–</>;
  return <>{percent(point.success)}{point.low !== null && point.high !== null && <small> {(100 * point.low).toFixed(1)}…{(100 * point.high).toFixed(1)}</small>}</>;
}

export function MethodsTable({ report }: { readonly report: Report }) {
  const trials = [...new Set(report.methods.flatMap((method) => method.curve.map((point) => point.trials)))].sort((a, b) => a - b);
  return (
    <Table label="Success of every method" head={["method", ...trials.map((n) => (n === 0 ? "#without a trial" : `#after ${n}`))]}>
      {report.methods.map((method) => (
        <tr key={method.name}>
          <th scope="row">{methodName(method.name)}</th>
          {trials.map((n) => <td key={n} class="number">{rate(method.curve.find((point) => point.trials === n))}</td>)}
        </tr>
      ))}
    </Table>
  );
}

/** Success of this model in each type of task, where the report has several. */
export function TypesTable({ report }: { readonly report: Report }) {
  const types = report.methods.find((method) => method.name === "wtl")?.types ?? [];
  if (types.length === 0) return null;
  return (
    <Table label="Success in each type of task" head={["type of task", ...types[0]!.curve.map(({ trials }) => (trials === 0 ? "#without a trial" : `#after ${trials}`))]}>
      {types.map((type) => (
        <tr key={type.name}>
          <th scope="row">{type.name}</th>
          {type.curve.map((point) => <td key={point.trials} class="number">{rate(point)}</td>)}
        </tr>
      ))}
    </Table>
  );
}

export function Controls({ report }: { readonly report: Report }) {
  if (report.controls.length === 0) return null;
  return (
    <Card title="Controls">
      <p class="quiet">Success when the context is not the task's own. Were these as high as with it, neither watching nor trying would help.</p>
      <Table label="Controls" head={["instead of its own context", "#success", "#with its own"]}>
        {report.controls.map((control) => (
          <tr key={control.name}>
            <th scope="row">{controlName(control.name)}</th>
            <td class="number">{rate(control)}</td>
            <td class="number">{percent(control.instead)}</td>
          </tr>
        ))}
      </Table>
    </Card>
  );
}
