import { useState } from "preact/hooks";
import { asks } from "../parts/asks";
import { branch } from "./address";
import type { Send, State } from "./state";

interface Properties {
  readonly state: State;
  readonly send: Send;
}

/** Which task is played, and how to get another. */
export function Task({ state, send }: Properties) {
  if (state.phase === "broken") return <header class="top"><h1>watch, try, learn</h1></header>;
  return (
    <header class="top">
      <h1>watch, try, learn</h1>
      <form class="row" onSubmit={(event) => {
        event.preventDefault();
        const given = new FormData(event.currentTarget).get("task");
        send({ do: "choose", task: Number(given) });
      }}>
        <label>
          <span class="quiet">family</span>{" "}
          <select value={state.family} onChange={(event) => send({ do: "choose", family: event.currentTarget.value })}>
            {state.families.map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
        </label>
        {state.models.length > 1 && (
          <label>
            <span class="quiet">model</span>{" "}
            <select value={state.model.name} onChange={(event) => { branch(); send({ do: "choose", task: state.task, model: event.currentTarget.value }); }}>
              {state.models.map((name) => <option key={name} value={name}>{name}</option>)}
            </select>
          </label>
        )}
        <label><span class="quiet">task</span> <input key={state.task} name="task" type="number" min={state.tasks[0]} max={state.tasks[1]} defaultValue={String(state.task)} title="held-out tasks, which the model was never trained on; Enter goes to one" /></label>
        <button type="button" onClick={() => send({ do: "choose" })}>Draw another task</button>
      </form>
    </header>
  );
}

/** The adaptation on the server: its name, forks, exports. */
export function Keep({ state, send }: Properties) {
  const [copied, setCopied] = useState(false);
  if (state.phase === "broken" || state.adaptation === null) return null;
  const { id, version, history, expires_at } = state.adaptation;
  const from = state.adaptation.edited_from ?? state.adaptation.forked_from;
  const copy = () => void navigator.clipboard?.writeText(location.href).then(() => setCopied(true));
  return (
    <footer class="keep">
      <p>
        Everything above is the adaptation <code>{id}</code>, version {version}, of {state.model.name}@{state.model.version}
        {from !== null && <>, a copy of <code>{from.id}</code>, version {from.version}</>}. The address of this page leads back to it, until {new Date(expires_at).toLocaleString()}.
      </p>
      <div class="row">
        <button type="button" class="quiet" onClick={copy}>{copied ? "Copied" : "Copy the address"}</button>
        <label>
          <span class="quiet">go on with a copy of</span>{" "}
          <select value="" disabled={state.phase !== "ready"} onChange={(event) => send({ do: "fork", version: Number(event.currentTarget.value) })}>
            <option value="" disabled>version…</option>
            {history.map((row) => <option key={row.version} value={row.version}>version {row.version}: {row.n_demos} shown, {row.n_trials} tried{asks(row.ask) && `, asked: ${Object.keys(row.ask).join(", ")}`}</option>)}
          </select>
        </label>
        <span class="row">export: {state.exports.map(({ kind, title }) => <a key={kind} href={`export/${encodeURIComponent(id)}/${kind}`} download>{title}</a>)}</span>
      </div>
    </footer>
  );
}
