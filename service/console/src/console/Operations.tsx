import { useEffect, useState } from "preact/hooks";
import { api, got, type Schemas } from "../api/client";
import { type Metrics, of, quantile, readMetrics, sum, values } from "../api/metrics";
import { Legend, Lines } from "../drawing";
import { useAction, useLoad } from "../parts/load";
import { Badge, bytes, Card, Empty, Fact, milliseconds, Refused, Show, Table, Title, When } from "../parts/ui";

const EVERY_MS = 2000;
const KEPT = 90;
const STAGES: Record<string, string> = { decode: "reading the body", queue: "waiting for the model", infer: "the model", encode: "writing the answer", storage: "database and files" };

/** Is it well, how fast is it, what does it hold, who may use it, what has been changed. */
export function OperationsPage({ caller }: { readonly caller: Schemas["CallerState"] }) {
  return (
    <>
      <Title under="This server, as it is now. Several servers on one database have each their own figures.">Operations</Title>
      <Ready />
      {caller.scopes.includes("metrics") ? <Figures /> : <Empty title="Rates and latencies need a key with the scope metrics." command="wtl keys create --scopes metrics" />}
      {caller.scopes.includes("admin") ? <><Keys /><Audit /></> : <Empty title="Keys and the audit log need a key with the scope admin." command="wtl keys create --scopes admin" />}
    </>
  );
}

function Ready() {
  const loaded = useLoad(() => got(api.GET("/readyz")), [], EVERY_MS);
  const unusable = Object.entries(loaded.data?.unusable ?? {});
  if (loaded.problem) return <Refused problem={loaded.problem} again={loaded.reload} />;
  return (
    <>
      {loaded.data && <p class="notice good" role="status"><strong>Ready</strong> Database, inference thread, models and disk are fine.</p>}
      {unusable.map(([name, why]) => <p key={name} class="notice warn"><strong>{name}</strong> cannot be used: {why}</p>)}
    </>
  );
}

function Figures() {
  const [history, setHistory] = useState<readonly Metrics[]>([]);
  const loaded = useLoad(readMetrics, [], EVERY_MS);
  useEffect(() => { if (loaded.data) setHistory((before) => [...before.slice(1 - KEPT), loaded.data!]); }, [loaded.data]);
  return (
    <Show loaded={loaded}>
      {(now) => (
        <>
          <Now now={now} before={history[history.length - 2]} />
          <div class="pair cards">
            <Card title="Requests a second"><Rates history={history} /></Card>
            <Card title="Time by stage"><Stages now={now} /></Card>
          </div>
          <Card title="Storage" wide><Storage now={now} /></Card>
          <Card title="Requests by route" wide><Routes now={now} /></Card>
        </>
      )}
    </Show>
  );
}

function Now({ now, before }: { readonly now: Metrics; readonly before: Metrics | undefined }) {
  const rate = before && now.at > before.at ? (sum(now, "wtl_requests_total") - sum(before, "wtl_requests_total")) / (now.at - before.at) : null;
  const jobs = of(now, "wtl_training_jobs");
  const running = jobs.find((one) => one.labels.state === "running")?.value ?? 0, queued = jobs.find((one) => one.labels.state === "queued")?.value ?? 0;
  return (
    <dl class="facts">
      <Fact name="requests a second" note={`${sum(now, "wtl_requests_total").toLocaleString("en")} since it began`}>{rate === null ? "–" : rate.toFixed(1)}</Fact>
      <Fact name="queue of the model" note={`${sum(now, "wtl_requests_in_flight")} in flight, ${sum(now, "wtl_streams")} streams`}>{sum(now, "wtl_queue_jobs")}</Fact>
      <Fact name="adaptations" note={`${sum(now, "wtl_models")} models`}>{sum(now, "wtl_adaptations").toLocaleString("en")}</Fact>
      <Fact name="trainings running" note={`${queued} waiting`}>{running}</Fact>
    </dl>
  );
}

function Rates({ history }: { readonly history: readonly Metrics[] }) {
  if (history.length < 3) return <p class="loading">Measuring…</p>;
  const pairs = history.slice(1).map((now, i) => [history[i]!, now] as const);
  const rate = (where: Record<string, string>) => pairs.map(([a, b]) => Math.max(0, (sum(b, "wtl_requests_total", where) - sum(a, "wtl_requests_total", where)) / Math.max(b.at - a.at, 0.1)));
  const failed = pairs.map(([a, b]) => (refused(b) - refused(a)) / Math.max(b.at - a.at, 0.1));
  const end = history[history.length - 1]!.at;
  const lines = [{ label: "all requests", values: rate({}), colour: 0 }, { label: "refused or failed", values: failed, colour: 1, dashed: true }];
  return <figure><Lines label="Requests a second, over the last minutes" x={pairs.map(([, b]) => b.at - end)} lines={lines} xLabel="seconds" height={180} /><Legend lines={lines} /></figure>;
}

function refused(metrics: Metrics): number {
  return of(metrics, "wtl_requests_total").filter((one) => (one.labels.status ?? "") >= "400").reduce((total, one) => total + one.value, 0);
}

function Stages({ now }: { readonly now: Metrics }) {
  const stages = values(now, "wtl_stage_seconds_bucket", "stage").filter((stage) => quantile(now, "wtl_stage_seconds", 0.5, { stage }) !== null);
  if (stages.length === 0) return <Empty title="Nothing has been asked of a model yet." />;
  return (
    <Table label="Time by stage" head={["stage", "#half take less than", "#95 % take less than"]}>
      {stages.map((stage) => (
        <tr key={stage}>
          <th scope="row">{STAGES[stage] ?? stage}</th>
          <td class="number">{shown(quantile(now, "wtl_stage_seconds", 0.5, { stage }))}</td>
          <td class="number">{shown(quantile(now, "wtl_stage_seconds", 0.95, { stage }))}</td>
        </tr>
      ))}
    </Table>
  );
}

function shown(seconds: number | null): string {
  return seconds === null ? "–" : milliseconds(seconds);
}

function Routes({ now }: { readonly now: Metrics }) {
  const routes = values(now, "wtl_requests_total", "route").filter((route) => !route.startsWith("/console"))
    .map((route) => ({ route, count: sum(now, "wtl_requests_total", { route }) })).sort((a, b) => b.count - a.count).slice(0, 10);
  return (
    <Table label="Routes by number of requests" head={["route", "#requests", "#half", "#95 %"]}>
      {routes.map(({ route, count }) => (
        <tr key={route}>
          <th scope="row"><code>{route}</code></th>
          <td class="number">{count.toLocaleString("en")}</td>
          <td class="number">{shown(quantile(now, "wtl_request_seconds", 0.5, { route }))}</td>
          <td class="number">{shown(quantile(now, "wtl_request_seconds", 0.95, { route }))}</td>
        </tr>
      ))}
    </Table>
  );
}

function Storage({ now }: { readonly now: Metrics }) {
  const kinds = of(now, "wtl_storage_bytes").sort((a, b) => b.value - a.value);
  const most = Math.max(1, ...kinds.map((one) => one.value));
  return (
    <>
      <Table label="Storage" head={["in the data folder", "#size", ""]}>
        {kinds.map((one) => (
          <tr key={one.labels.kind}><th scope="row">{one.labels.kind}</th><td class="number">{bytes(one.value)}</td><td><meter min={0} max={most} value={one.value} aria-label={`size of ${one.labels.kind}`} /></td></tr>
        ))}
      </Table>
      <p class="quiet">{bytes(sum(now, "wtl_disk_free_bytes"))} are free on its disk; {bytes(sum(now, "wtl_beliefs_bytes"))} of adapted policies in memory.</p>
    </>
  );
}

function Keys() {
  const loaded = useLoad(() => got(api.GET("/v1/keys")), []);
  return (
    <Card title="API keys" wide>
      <Show loaded={loaded}>
        {({ items }) => items.length === 0
          ? <Empty title="There is no key: whoever can connect may do everything." command="wtl keys create">On loopback that is you alone. With the first key everybody needs one:</Empty>
          : (
            <>
              <Table label="API keys" head={["key", "label", "scopes", "state", "created", "expires"]}>
                {items.map((key) => (
                  <tr key={key.prefix}>
                    <th scope="row"><code>{key.prefix}…</code></th><td>{key.label}</td><td>{key.scopes.map((scope) => <Badge key={scope}>{scope}</Badge>)}</td>
                    <td><Badge tone={key.state === "usable" ? "good" : "bad"}>{key.state}</Badge></td><td><When at={key.created_at} /></td><td><When at={key.expires_at} /></td>
                  </tr>
                ))}
              </Table>
              <p class="quiet">Keys are made and revoked on the machine of the database: <code>wtl keys create</code>, <code>wtl keys revoke PREFIX</code>.</p>
            </>
          )}
      </Show>
    </Card>
  );
}

function Audit() {
  const read = (cursor: string | null) => got(api.GET("/v1/audit", { params: { query: { limit: 25, ...(cursor ? { cursor } : {}) } } }));
  const loaded = useLoad(() => read(null), []);
  const [more, setMore] = useState<{ items: Schemas["AuditEntry"][]; cursor: string | null } | null>(null);
  const reading = useAction();
  return (
    <Card title="Audit log" wide>
      <Show loaded={loaded}>
        {(page) => {
          const items = [...page.items, ...(more?.items ?? [])], cursor = more === null ? page.next_cursor : more.cursor;
          if (items.length === 0) return <Empty title="Nothing has been changed yet.">Every change and every refused key is written here.</Empty>;
          return (
            <>
              <Table label="Audit log, newest first" head={["when", "key", "request", "path", "outcome"]}>
                {items.map((one, i) => (
                  <tr key={i}>
                    <td><When at={one.at} /></td><td>{one.key === null ? <span class="quiet">none</span> : <code>{one.key}…</code>}</td>
                    <th scope="row">{one.action.split(" ")[0]}</th><td class="break" title={one.action}><code>{one.subject}</code></td>
                    <td><Badge tone={one.outcome < "400" ? "good" : "bad"}>{one.outcome}</Badge></td>
                  </tr>
                ))}
              </Table>
              {cursor && <button type="button" class="more" disabled={reading.busy} onClick={() => void reading.run(async () => {
                const next = await read(cursor);
                setMore({ items: [...(more?.items ?? []), ...next.items], cursor: next.next_cursor });
              })}>Show more</button>}
              {reading.problem && <Refused problem={reading.problem} />}
            </>
          );
        }}
      </Show>
    </Card>
  );
}
