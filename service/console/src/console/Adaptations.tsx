import { useEffect, useRef, useState } from "preact/hooks";
import { api, got, type Schemas } from "../api/client";
import { useAction, useLoad } from "../parts/load";
import { go, to } from "../parts/router";
import { Badge, Empty, Refused, Show, Table, Title, useSettled, When } from "../parts/ui";

type State = Schemas["AdaptationState"];
const PAGE = 50;

/** Every adaptation of the tenant, newest first, a page at a time. */
export function AdaptationsPage({ query }: { readonly query: URLSearchParams }) {
  const [search, setSearch] = useState(query.get("search") ?? "");
  const model = query.get("model") ?? "";
  const settled = useSettled(search.trim());
  const read = (cursor: string | null) => got(api.GET("/v1/adaptations", {
    params: { query: { limit: PAGE, order: "newest", confidence: false, search: settled, ...(model ? { model } : {}), ...(cursor ? { cursor } : {}) } },
  }));
  const loaded = useLoad(() => read(null), [settled, model]);
  const [more, setMore] = useState<{ items: State[]; cursor: string | null }>({ items: [], cursor: null });
  const reading = useAction();
  const rows = useRef<HTMLDivElement>(null);
  useEffect(() => setMore({ items: [], cursor: loaded.data?.next_cursor ?? null }), [loaded.data]);
  useEffect(() => go(to(["adaptations"], { search: settled, model }), { replace: true }), [settled, model]);
  const models = useLoad(() => got(api.GET("/v1/models")), []);
  return (
    <>
      <Title under="What the policy was shown and what it tried, task by task.">Adaptations</Title>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>Search
          <input type="search" value={search} placeholder="beginning of an id, or a model" onInput={(event) => setSearch(event.currentTarget.value)} />
        </label>
        <label>Model
          <select value={model} onChange={(event) => go(to(["adaptations"], { search, model: event.currentTarget.value }))}>
            <option value="">all</option>
            {[...new Set([...(models.data?.items.map((card) => card.name) ?? []), ...(model ? [model] : [])])].map((name) => <option key={name}>{name}</option>)}
          </select>
        </label>
      </form>
      <Show loaded={loaded}>
        {(page) => page.items.length === 0 ? <Nothing filtered={settled !== "" || model !== ""} /> : (
          <div ref={rows}>
            <List items={[...page.items, ...more.items]} />
            {more.cursor && (
              <button type="button" class="more" disabled={reading.busy} onClick={() => void reading.run(async () => {
                const next = await read(more.cursor);
                setMore({ items: [...more.items, ...next.items], cursor: next.next_cursor });
              })}>{reading.busy ? "Loading…" : `Show ${PAGE} more`}</button>
            )}
            {reading.problem && <Refused problem={reading.problem} />}
          </div>
        )}
      </Show>
    </>
  );
}

function List({ items }: { readonly items: readonly State[] }) {
  return (
    <Table label="Adaptations, newest first" head={["adaptation", "model", "#demonstrations", "#trials", "#version", "created", "expires"]}>
      {items.map((one) => (
        <tr key={one.id}>
          <th scope="row"><a href={to(["adaptations", one.id])}><code>{one.id}</code></a>{one.forked_from && <> <Badge>fork</Badge></>}</th>
          <td><a href={to(["models", one.model, one.model_version])}>{one.model}</a> <small>v{one.model_version}</small></td>
          <td class="number">{one.n_demos}</td>
          <td class="number">{one.n_trials}</td>
          <td class="number">{one.version}</td>
          <td><When at={one.created_at} /></td>
          <td><When at={one.expires_at} /></td>
        </tr>
      ))}
    </Table>
  );
}

function Nothing({ filtered }: { readonly filtered: boolean }) {
  if (filtered) return <Empty title="Nothing matches.">A search finds the beginning of an id and any part of a model's name. Take the filter away to see all.</Empty>;
  return <Empty title="There is no adaptation yet." command={"wtl adapt --model reach --from demo.npz"}>Show a model a task: from a recording, from Python, or with curl as the first page of this server says.</Empty>;
}
