import { useState } from "preact/hooks";
import { api, got, type Schemas } from "../api/client";
import { Legend, Lines } from "../drawing";
import { harmless, nameOf, short } from "../parts/asks";
import { useLoad } from "../parts/load";
import { go, to } from "../parts/router";
import { Badge, Card, Empty, Show, Table, Title, When } from "../parts/ui";
import { AliasCard } from "./Aliases";
import { Compare } from "./Compare";
import { Controls, Curves, MethodsTable, TypesTable } from "./Curve";
import { experimentOf, historyOf, leaves, reportOf } from "./report";

type ModelCard = Schemas["ModelCard"];

/** One version of a model; beside another one if `against` says which. */
export function ModelPage({ name, version, against, mayChange }: { readonly name: string; readonly version: string | undefined; readonly against: string | undefined; readonly mayChange: boolean }) {
  const path = { name };
  const card = (number: string) => got(api.GET("/v1/models/{name}/{version}", { params: { path: { name, version: Number(number) } } }));
  const loaded = useLoad(async () => {
    const [shown, versions, aliases] = await Promise.all([
      version === undefined ? got(api.GET("/v1/models/{name}", { params: { path } })) : card(version),
      got(api.GET("/v1/models/{name}/versions", { params: { path } })),
      got(api.GET("/v1/models/{name}/aliases", { params: { path, query: { limit: 20 } } })),
    ]);
    return { shown, versions: versions.items, aliases, other: against === undefined ? null : await card(against) };
  }, [name, version, against]);
  return (
    <>
      <Title under={loaded.data && <>Version {loaded.data.shown.version} of {loaded.data.versions.length}{loaded.data.shown.asks.length > 0 && <>, can be asked for {loaded.data.shown.asks.map((one) => one.kind).join(", ")}</>}</>} actions={loaded.data && <a class="button" href={to(["adaptations"], { model: name })}>Its adaptations</a>}>{name}</Title>
      <Show loaded={loaded}>
        {({ shown, versions, aliases, other }) => (
          <>
            <Versions name={name} versions={versions} shown={shown} against={other?.version} />
            {other ? <Compare left={shown} right={other} /> : <Evidence card={shown} />}
            {!other && <Asks offers={shown.asks} />}
            <AliasCard name={name} versions={versions} page={aliases} changed={loaded.reload} mayChange={mayChange} />
            {!other && <Provenance card={shown} bundle={versions.find((one) => one.version === shown.version)?.bundle ?? null} />}
          </>
        )}
      </Show>
    </>
  );
}

function Versions({ name, versions, shown, against }: { readonly name: string; readonly versions: readonly Schemas["ModelVersion"][]; readonly shown: ModelCard; readonly against: number | undefined }) {
  const [other, setOther] = useState<string>(String(against ?? ""));
  const others = versions.filter((one) => one.version !== shown.version);
  return (
    <Card title="Versions" wide actions={others.length > 0 && (
      <form class="inline" onSubmit={(event) => { event.preventDefault(); go(other ? to(["models", name, shown.version, other]) : to(["models", name, shown.version])); }}>
        <label>Compare v{shown.version} with
          <select value={other} onChange={(event) => setOther(event.currentTarget.value)}>
            <option value="">nothing</option>
            {others.map((one) => <option key={one.version} value={one.version}>v{one.version}</option>)}
          </select>
        </label>
        <button type="submit">Compare</button>
      </form>
    )}>
      <Table label={`Versions of ${name}`} head={["version", "aliases", "runtime", "registered", "bundle"]}>
        {[...versions].reverse().map((one) => (
          <tr key={one.version} class={one.version === shown.version ? "chosen" : ""}>
            <th scope="row"><a href={to(["models", name, one.version])} {...(one.version === shown.version ? { "aria-current": "true" as const } : {})}>v{one.version}</a></th>
            <td>{one.aliases.map((alias) => <Badge key={alias} tone="calm">{alias}</Badge>)}</td>
            <td>{one.runtime ?? <span class="quiet">not loaded</span>}</td>
            <td><When at={one.registered_at} /></td>
            <td><code title={one.bundle}>{one.bundle.slice(0, 12)}</code></td>
          </tr>
        ))}
      </Table>
    </Card>
  );
}

function Evidence({ card }: { readonly card: ModelCard }) {
  const report = reportOf(card.report);
  if (report === null) return <Card title="Report"><Empty title="This version was not evaluated." command="wtl evaluate BUNDLE">Test tasks say whether watching and trying help:</Empty></Card>;
  return (
    <div class="split">
      <Card title="Report">
        <Curves named={[{ name: `v${card.version}`, methods: report.methods }]} />
        <p class="quiet">{report.nTasks !== null && <>{report.nTasks} tasks</>}{report.manifest !== null && <> of <code>{report.manifest}</code></>}{report.created !== null && <>, measured <When at={report.created} /></>}</p>
        <details><summary>Every method as a table</summary><MethodsTable report={report} /><TypesTable report={report} /></details>
      </Card>
      <Controls report={report} />
    </div>
  );
}

/** What the policy follows beyond the task that it was shown; nothing is shown of a model that follows nothing. */
function Asks({ offers }: { readonly offers: ModelCard["asks"] }) {
  if (offers.length === 0) return null;
  return (
    <Card title="What it can be asked for" wide>
      <Table label="Kinds of ask" head={["kind", "takes", "range in training", "for example"]}>
        {offers.map((one) => (
          <tr key={one.kind}>
            <th scope="row">{nameOf(one.kind)} <code>{one.kind}</code></th>
            <td class="break">{one.accepts}</td>
            <td class="break">{one.low.map((low, i) => `${short(low)} to ${short(one.high[i])}`).join(", ") || "–"}</td>
            <td class="break">{harmless(one.examples.slice(0, 3).map((example) => (typeof example === "string" ? `“${example}”` : JSON.stringify(example))).join(" or "))}</td>
          </tr>
        ))}
      </Table>
    </Card>
  );
}

function Provenance({ card, bundle }: { readonly card: ModelCard; readonly bundle: string | null }) {
  const history = historyOf(card.provenance);
  const settings = [...leaves(experimentOf(card.provenance))];
  const lines = history && [{ label: "first attempt", values: history.trial, colour: 1 }, { label: "second attempt", values: history.retrial, colour: 2 }];
  return (
    <Card title="Provenance" wide>
      {bundle && <p>Bundle <code class="break">{bundle}</code></p>}
      {history && lines && (
        <div class="pair">
          <figure><Lines label="Success on validation tasks while it was trained" x={history.steps} lines={lines} range={[0, 1]} format={(value) => `${Math.round(value * 100)} %`} height={160} /><Legend lines={lines} /></figure>
          <figure><Lines label="Loss while it was trained" x={history.steps} lines={[{ label: "loss", values: history.loss }]} height={160} /><Legend lines={[{ label: "loss, by gradient step", values: [] }]} /></figure>
        </div>
      )}
      <details>
        <summary>The {settings.length} settings of its experiment</summary>
        <Table label="Settings" head={["setting", "value"]}>{settings.map(([at, value]) => <tr key={at}><th scope="row"><code>{at}</code></th><td class="break">{value}</td></tr>)}</Table>
      </details>
      <details>
        <summary>Everything that the bundle says of itself</summary>
        <pre class="json" tabIndex={0}>{JSON.stringify({ spec: card.spec, provenance: card.provenance }, null, 1)}</pre>
      </details>
    </Card>
  );
}
