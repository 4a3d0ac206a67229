import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, got, type Schemas } from "../api/client";
import { follow, type JobEvent } from "../api/events";
import { Legend, type Line, Lines } from "../drawing";
import { useAction, useLoad } from "../parts/load";
import { to } from "../parts/router";
import { Badge, Card, Confirmed, Fact, Refused, Show, Title, When } from "../parts/ui";
import { JobBadge } from "./Training";

type Job = Schemas["TrainingJobState"];
const LOG_MS = 2000;

/** One training, live: its curves, its log, the bundle that came of it. */
export function JobPage({ id }: { readonly id: string }) {
  const { events, connected } = useEvents(id);
  const states = events.filter((event) => event.kind === "state").length;
  const path = { job_id: id };
  const loaded = useLoad(() => got(api.GET("/v1/training-jobs/{job_id}", { params: { path } })), [id]);
  useEffect(loaded.reload, [states, connected]);
  const doing = useAction();
  const stop = () => doing.run(async () => {
    await api.DELETE("/v1/training-jobs/{job_id}", { params: { path } });
    loaded.reload();
  });
  const job = loaded.data;
  const active = job === null || job.state === "queued" || job.state === "running";
  return (
    <>
      <Title under={job && <>{job.experiment ?? job.family ?? job.dataset}, created <When at={job.created_at} /></>}
        actions={job && active && <Confirmed label="Stop" question="Stop this training? It keeps a checkpoint and makes no model." action={() => void stop()} disabled={doing.busy || job.stop_requested} />}>
        <span class="mono">{id}</span>
      </Title>
      {!connected && <p class="notice warn" role="status">The connection is lost. Trying again; nothing is missed.</p>}
      {doing.problem && <Refused problem={doing.problem} />}
      <Show loaded={loaded}>
        {(one) => (
          <>
            <Standing job={one} latest={events.findLast((event) => event.kind === "progress")} />
            <Progress events={events} active={active} />
            <Log id={id} active={active} states={states} />
          </>
        )}
      </Show>
    </>
  );
}

function useEvents(id: string): { events: readonly JobEvent[]; connected: boolean } {
  const [events, setEvents] = useState<readonly JobEvent[]>([]);
  const [connected, setConnected] = useState(true);
  useEffect(() => {
    let waiting: JobEvent[] = [];
    let frame = 0;
    const add = () => {
      const news = waiting;
      waiting = [];
      frame = 0;
      setEvents((before) => [...before, ...news]);
    };
    setEvents([]);
    const stop = follow(id, (event) => {
      waiting.push(event);
      frame ||= window.setTimeout(add, 50); // a replay tells hundreds at once
    }, setConnected);
    return () => {
      clearTimeout(frame);
      stop();
    };
  }, [id]);
  return { events, connected };
}

function Standing({ job, latest }: { readonly job: Job; readonly latest: JobEvent | undefined }) {
  const progress = (latest?.data ?? job.progress ?? {}) as Partial<Schemas["TrainingProgress"]>;
  const active = job.state === "queued" || job.state === "running";
  return (
    <>
      {job.error !== null && <div class="notice bad" role="alert"><strong>The training has failed</strong><p>{job.error}</p></div>}
      {job.model !== null && job.model_version !== null && (
        <div class="notice good" role="status">
          <strong>It has made <a href={to(["models", job.model, job.model_version])}>{job.model} v{job.model_version}</a></strong>
          <p>The bundle is registered, and <code>current</code> points at it. Its page has the report and the way back.</p>
        </div>
      )}
      <dl class="facts">
        <Fact name="state" note={<>attempt {job.attempt}, {job.backend}</>}><JobBadge job={job} /></Fact>
        <Fact name={progress.phase ?? "phase"} note={progress.total ? `${progress.done} of ${progress.total}` : "not begun"}>
          {progress.total ? <progress max={progress.total} value={progress.done ?? 0} aria-label="progress of this phase" /> : "–"}
        </Fact>
        <Fact name="ends in" note={job.finished_at ? <>ended <When at={job.finished_at} /></> : "as far as it is known"}>{active && progress.ends_in_s != null ? span(progress.ends_in_s) : "–"}</Fact>
        <Fact name="loss">{progress.loss == null ? "–" : progress.loss.toPrecision(4)}</Fact>
      </dl>
    </>
  );
}

function Progress({ events, active }: { readonly events: readonly JobEvent[]; readonly active: boolean }) {
  const { x, loss, success } = useMemo(() => curves(events), [events]);
  if (x.length < 2) return active ? <Card title="Curves" wide><p class="loading">The curves begin with the second report of the training.</p></Card> : null;
  return (
    <div class="pair cards">
      <Card title="Success on validation tasks">
        {success.length ? <><Lines label="Success on validation tasks over time" x={x} lines={success} range={[0, 1]} xLabel="seconds" format={(value) => `${Math.round(value * 100)} %`} height={200} /><Legend lines={success} /></> : <p class="quiet">Not measured yet.</p>}
      </Card>
      <Card title="Loss"><Lines label="Loss over time" x={x} lines={[loss]} xLabel="seconds" height={200} /><p class="quiet">By seconds since the first gradient steps.</p></Card>
    </div>
  );
}

function curves(events: readonly JobEvent[]): { x: number[]; loss: Line; success: Line[] } {
  const all = events.filter((event) => event.kind === "progress");
  const learns = (event: JobEvent) => event.data.loss != null || event.data.success != null;
  const last = all.length - [...all].reverse().findIndex(learns); // what comes after the training has no curve
  const told = all.slice(Math.max(0, all.findIndex((event) => event.data.loss != null)), last);
  const start = told[0] ? Date.parse(told[0].at) : 0;
  const data = told.map((event) => event.data as Partial<Schemas["TrainingProgress"]>);
  const most = Math.max(0, ...data.map((one) => one.success?.length ?? 0));
  return {
    x: told.map((event) => (Date.parse(event.at) - start) / 1000),
    loss: { label: "loss", values: data.map((one) => one.loss ?? null) },
    success: Array.from({ length: most }, (_, n) => ({
      label: n === 0 ? "without a trial" : `after ${n} trial${n > 1 ? "s" : ""}`, colour: n + 1, values: data.map((one) => one.success?.[n] ?? null),
    })),
  };
}

function Log({ id, active, states }: { readonly id: string; readonly active: boolean; readonly states: number }) {
  const loaded = useLoad(() => got(api.GET("/v1/training-jobs/{job_id}/logs", { params: { path: { job_id: id } } })), [id, active], active ? LOG_MS : 0);
  useEffect(loaded.reload, [states]);
  const end = useRef<HTMLPreElement>(null);
  const text = loaded.data?.text;
  useEffect(() => {
    const at = end.current;
    if (at && (at.scrollTop === 0 || at.scrollHeight - at.scrollTop - at.clientHeight < 80)) at.scrollTop = at.scrollHeight;
  }, [text]);
  return (
    <Card title={<>Log {active && <Badge>live</Badge>}</>} wide>
      {loaded.problem && <Refused problem={loaded.problem} again={loaded.reload} />}
      {text === undefined ? null : text === "" ? <p class="quiet">It is empty before the training has started.</p> : <pre class="log" ref={end} tabIndex={0} aria-label="End of the log">{text}</pre>}
    </Card>
  );
}

function span(seconds: number): string {
  return seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
