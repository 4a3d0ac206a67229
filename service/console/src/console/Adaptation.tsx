import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { api, got, root, type Schemas } from "../api/client";
import { Belief, EpisodeView, openly, Overview } from "../drawing";
import { asks, said } from "../parts/asks";
import { useAction, useLoad } from "../parts/load";
import { go, to } from "../parts/router";
import { Badge, Card, Confirmed, Empty, Fact, percent, Refused, Show, Table, Title, When } from "../parts/ui";
import { drawn, planar } from "./episodes";
import { FamilyTree } from "./Family";

type State = Schemas["AdaptationState"];
type Stored = Schemas["StoredEpisode"];

/** One adaptation in one version: what it was shown, what it tried, how sure it is. */
export function AdaptationPage({ id, version }: { readonly id: string; readonly version: string | null }) {
  const path = { adaptation_id: id }, query = version === null ? {} : { version: Number(version) };
  const loaded = useLoad(async () => {
    const state = await got(api.GET("/v1/adaptations/{adaptation_id}", { params: { path, query } }));
    const [card, family] = await Promise.all([
      got(api.GET("/v1/models/{name}/{version}", { params: { path: { name: state.model, version: state.model_version } } })),
      got(api.GET("/v1/adaptations/{adaptation_id}/family", { params: { path } })),
    ]);
    return { state, card, family };
  }, [id, version]);
  const doing = useAction();
  const remove = () => doing.run(async () => {
    await api.DELETE("/v1/adaptations/{adaptation_id}", { params: { path } });
    go(to(["adaptations"]));
  });
  const fork = () => doing.run(async () => {
    const made = await got(api.POST("/v1/adaptations/{adaptation_id}/fork", { params: { path }, body: { version: loaded.data?.state.version ?? null } }));
    go(to(["adaptations", made.id]));
  });
  return (
    <>
      <Title under={loaded.data && <>Of <a href={to(["models", loaded.data.state.model, loaded.data.state.model_version])}>{loaded.data.state.model} v{loaded.data.state.model_version}</a>, made <When at={loaded.data.state.created_at} />, expires <When at={loaded.data.state.expires_at} /></>}
        actions={loaded.data && (
          <>
            <a class="button" href={`${root}/v1/adaptations/${encodeURIComponent(id)}/export?version=${loaded.data.state.version}`} download>Export v{loaded.data.state.version}</a>
            <button type="button" disabled={doing.busy} onClick={() => void fork()}>Fork v{loaded.data.state.version}</button>
            <Confirmed label="Delete" question="Delete this adaptation, all of its versions and its episodes? Forks keep the episodes that they share with it." action={() => void remove()} disabled={doing.busy} />
          </>
        )}>
        <span class="mono">{id}</span>
      </Title>
      {doing.problem && <Refused problem={doing.problem} />}
      <Show loaded={loaded}>
        {({ state, card, family }) => (
          <>
            <Facts state={state} />
            {state.belief !== null && (
              <Card title="What it believes">
                <Belief probabilities={state.belief.probabilities} />
                <p class="small">The probability of each hypothesis in percent. {openly(state.belief.entropy_bits, state.belief.probabilities.length)}</p>
              </Card>
            )}
            <Card title="Versions and forks" wide>
              <FamilyTree family={family.items} id={id} version={state.version} />
              <AskedFor versions={family.items.find((one) => one.id === id)?.versions ?? []} state={state} />
            </Card>
            <Episodes key={`${id}/${state.version}`} id={id} state={state} card={card} />
          </>
        )}
      </Show>
    </>
  );
}

/** What each version asks for, from the first on that asks for something. */
function AskedFor({ versions, state }: { readonly versions: readonly Schemas["VersionState"][]; readonly state: State }) {
  const first = versions.findIndex((one) => asks(one.ask));
  if (first < 0) return null;
  return (
    <>
      <Table label="What each version asks for" head={["version", "asked for"]}>
        {versions.slice(first).map((one) => (
          <tr key={one.version} class={one.version === state.version ? "chosen" : ""}>
            <th scope="row"><a href={to(["adaptations", state.id], { version: one.version })}>v{one.version}</a></th>
            <td class="break">{said(one.ask) || <span class="quiet">nothing</span>}</td>
          </tr>
        ))}
      </Table>
      {state.ask_warnings.map((warning) => <p key={warning} class="notice warn">{warning}.</p>)}
    </>
  );
}

function Facts({ state }: { readonly state: State }) {
  const unlike = state.novelty !== null && state.novelty >= 0.99;
  return (
    <dl class="facts">
      <Fact name="confidence" note={state.confidence === null ? "this model is not calibrated" : "that the next attempt succeeds"}>{percent(state.confidence, 0)}</Fact>
      <Fact name="value of a trial" note="added by one more attempt">{state.value_of_trial === null ? "–" : `${state.value_of_trial >= 0 ? "+" : "−"}${percent(Math.abs(state.value_of_trial), 0)}`}</Fact>
      <Fact name="novelty" note={unlike ? <Badge tone="warn">unlike any training task</Badge> : "0.5 is typical"}>{state.novelty === null ? "–" : state.novelty.toFixed(2)}</Fact>
      <Fact name="shown and tried" note={`in version ${state.version}`}>{state.n_demos} + {state.n_trials}</Fact>
    </dl>
  );
}

function Episodes({ id, state, card }: { readonly id: string; readonly state: State; readonly card: Schemas["ModelCard"] }) {
  const read = (cursor: string | null) => got(api.GET("/v1/adaptations/{adaptation_id}/episodes", {
    params: { path: { adaptation_id: id }, query: { version: state.version, limit: 20, ...(cursor ? { cursor } : {}) } },
  }));
  const loaded = useLoad(() => read(null), [id, state.version]);
  const [more, setMore] = useState<{ items: Stored[]; cursor: string | null } | null>(null);
  const reading = useAction();
  return (
    <Show loaded={loaded}>
      {(page) => {
        const episodes = [...page.items, ...(more?.items ?? [])];
        const cursor = more === null ? page.next_cursor : more.cursor;
        if (episodes.length === 0) return <Empty title="This version has no episode." command={`wtl adapt --to ${id} --from demo.npz`}>Show it a demonstration:</Empty>;
        const pictures = episodes.map((one) => drawn(one, card));
        const part = planar(pictures[0]!.parts);
        return (
          <>
            <div class="split">
              {part && <Card title="Where it went"><Overview episodes={pictures} part={part} /></Card>}
              <Card title={<>Episodes <small>{episodes.length} of {state.n_demos + state.n_trials}</small></>}>
                <ol class="episodes">
                  {episodes.map((one, i) => <EpisodeEntry key={`${one.role}${one.index}`} episode={one} open={i === 0}><EpisodeView episode={pictures[i]!} /></EpisodeEntry>)}
                </ol>
                {cursor && <button type="button" class="more" disabled={reading.busy} onClick={() => void reading.run(async () => {
                  const next = await read(cursor);
                  setMore({ items: [...(more?.items ?? []), ...next.items], cursor: next.next_cursor });
                })}>Show more</button>}
                {reading.problem && <Refused problem={reading.problem} />}
              </Card>
            </div>
          </>
        );
      }}
    </Show>
  );
}

/** What an episode is in a line, and its drawing once it is opened. */
function EpisodeEntry({ episode, open, children }: { readonly episode: Stored; readonly open: boolean; readonly children: ComponentChildren }) {
  const [shown, setShown] = useState(open);
  const { quality } = episode;
  return (
    <li>
      <details open={open} onToggle={(event) => setShown(event.currentTarget.open)}>
        <summary>
          <strong>{episode.role === "demo" ? "Demonstration" : "Trial"} {episode.index + 1}</strong>
          {episode.success === true ? <Badge tone="good">✓ success</Badge> : episode.success === false ? <Badge tone="bad">✕ failure</Badge> : <Badge>outcome unknown</Badge>}
          {quality.warnings.length > 0 && <Badge tone="warn">{quality.warnings.length} warning{quality.warnings.length > 1 ? "s" : ""}</Badge>}
          <small>{episode.length} steps, {quality.duration_s.toFixed(1)} s{quality.total_reward === null ? "" : `, reward ${Number(quality.total_reward.toPrecision(4))}`}, since v{episode.since}{quality.novelty === null ? "" : `, novelty ${quality.novelty.toFixed(2)}`}</small>
        </summary>
        {quality.warnings.map((warning) => <p key={warning.code} class="notice warn"><strong>{warning.code}</strong> {warning.message}</p>)}
        {shown && children}
      </details>
    </li>
  );
}
