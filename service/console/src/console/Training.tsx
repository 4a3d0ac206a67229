import { useState } from "preact/hooks";
import { api, got, type Schemas } from "../api/client";
import { useAction, useLoad } from "../parts/load";
import { go, to } from "../parts/router";
import { Badge, Card, Empty, Refused, Show, Table, Title, type Tone, When } from "../parts/ui";

type Job = Schemas["TrainingJobState"];
const TONES: Record<Job["state"], Tone> = { queued: "plain", running: "calm", succeeded: "good", failed: "bad", stopped: "warn" };
const EVERY_MS = 4000;

export function JobBadge({ job }: { readonly job: Pick<Job, "state" | "stop_requested"> }) {
  const stopping = job.stop_requested && (job.state === "running" || job.state === "queued");
  return <Badge tone={TONES[job.state]}>{stopping ? "stopping" : job.state}</Badge>;
}

/** Trainings, newest first, and the form that starts one. */
export function TrainingPage() {
  const loaded = useLoad(() => got(api.GET("/v1/training-jobs", { params: { query: { limit: 50, order: "newest" } } })), [], EVERY_MS);
  return (
    <>
      <Title under="Meta-training makes a policy that adapts. Its bundle becomes the next version of its model.">Training</Title>
      <Start />
      <Card title="Trainings" wide>
        <Show loaded={loaded}>
          {({ items }) => items.length === 0
            ? <Empty title="Nothing has been trained here yet." command="wtl jobs create reach-m2">Start one above, or on the command line:</Empty>
            : (
              <Table label="Trainings, newest first" head={["training", "of", "state", "progress", "model", "created"]}>
                {items.map((job) => (
                  <tr key={job.id}>
                    <th scope="row"><a href={to(["training", job.id])}><code>{job.id}</code></a></th>
                    <td>{job.experiment ?? job.family ?? job.dataset}</td>
                    <td><JobBadge job={job} /></td>
                    <td>{job.progress && <><progress max={job.progress.total || 1} value={job.progress.done} aria-label={`progress of ${job.id}`} /> <small>{job.progress.phase}</small></>}</td>
                    <td>{job.model !== null && job.model_version !== null ? <a href={to(["models", job.model, job.model_version])}>{job.model} v{job.model_version}</a> : "–"}</td>
                    <td><When at={job.created_at} /></td>
                  </tr>
                ))}
              </Table>
            )}
        </Show>
      </Card>
    </>
  );
}

function Start() {
  const experiments = useLoad(() => got(api.GET("/v1/experiments", { params: { query: { limit: 100 } } })), []);
  const [what, setWhat] = useState("");
  const [family, setFamily] = useState("");
  const [length, setLength] = useState({ kind: "steps", value: "" });
  const [seed, setSeed] = useState("");
  const [name, setName] = useState("");
  const doing = useAction();
  const start = () => doing.run(async () => {
    const value = length.value === "" ? null : Number(length.value);
    const job = await got(api.POST("/v1/training-jobs", { body: {
      ...(what === FAMILY ? { family: family.trim() } : { experiment: what }),
      ...(value === null ? {} : length.kind === "steps" ? { steps: value } : { minutes: value }),
      ...(seed === "" ? {} : { seed: Number(seed) }), ...(name.trim() === "" ? {} : { name: name.trim() }),
    } as Schemas["TrainingJobRequest"] }));
    go(to(["training", job.id]));
  });
  const chosen = experiments.data?.items.find((one) => one.name === what);
  return (
    <Card title="Start a training" wide>
      <Show loaded={experiments}>
        {({ items }) => items.length === 0
          ? <Empty title="This server runs no trainings." command="WTL_TRAINING_JOBS=1 wtl serve">Its operator has set their number to 0:</Empty>
          : (
            <form class="start" onSubmit={(event) => { event.preventDefault(); void start(); }}>
              <label>What to train
                <select required value={what} onChange={(event) => setWhat(event.currentTarget.value)}>
                  <option value="" disabled>choose an experiment</option>
                  {items.map((one) => <option key={one.name}>{one.name}</option>)}
                  <option value={FAMILY}>a family of your own…</option>
                </select>
              </label>
              {what === FAMILY && <label>Family<input required placeholder="module:Class" value={family} onInput={(event) => setFamily(event.currentTarget.value)} /></label>}
              <label class="two">Ends after
                <span class="joined">
                  <input type="number" min={length.kind === "steps" ? 10 : 0.1} step="any" value={length.value} placeholder={length.kind === "steps" ? String(chosen?.steps ?? "as many as it needs") : String(chosen?.minutes ?? 20)}
                    onInput={(event) => setLength({ ...length, value: event.currentTarget.value })} />
                  <select aria-label="unit of its length" value={length.kind} onChange={(event) => setLength({ ...length, kind: event.currentTarget.value })}>
                    <option value="steps">steps</option><option value="minutes">minutes</option>
                  </select>
                </span>
              </label>
              <label>Seed<input type="number" min={0} value={seed} placeholder="the experiment's" onInput={(event) => setSeed(event.currentTarget.value)} /></label>
              <label>Name of the model<input value={name} placeholder={chosen?.model ?? "the family's"} maxLength={64} onInput={(event) => setName(event.currentTarget.value)} /></label>
              <button type="submit" class="solid" disabled={doing.busy || what === ""}>{doing.busy ? "Starting…" : "Start"}</button>
              {chosen && <p class="quiet wide">Tasks of <code>{chosen.family}</code>{chosen.n_tasks === null ? "" : `, ${chosen.n_tasks.toLocaleString("en")} of them`}; gradient steps of {chosen.batch_tasks} tasks, {chosen.steps === null ? `as many as help within ${chosen.minutes} minutes` : chosen.steps.toLocaleString("en")}.</p>}
              {what === FAMILY && <p class="quiet wide">Of a module that the operator allows: <code>WTL_TRAINING_FAMILIES=module wtl serve</code>. <code>wtl new-task NAME</code> writes one that trains as it is.</p>}
            </form>
          )}
      </Show>
      {doing.problem && <Refused problem={doing.problem} />}
    </Card>
  );
}

const FAMILY = " family";
