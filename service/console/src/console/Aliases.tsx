import { useState } from "preact/hooks";
import { api, type Schemas } from "../api/client";
import { useAction } from "../parts/load";
import { Badge, Card, Confirmed, Refused, Table, When } from "../parts/ui";

interface Properties {
  readonly name: string;
  readonly versions: readonly Schemas["ModelVersion"][];
  readonly page: Schemas["AliasPage"];
  readonly changed: () => void;
  readonly mayChange: boolean;
}

/** Where each alias points, with a switch and the way back, and how it came there. */
export function AliasCard({ name, versions, page, changed, mayChange }: Properties) {
  const doing = useAction();
  const [alias, setAlias] = useState("");
  const set = (which: string, version: number) => doing.run(async () => {
    await api.PUT("/v1/models/{name}/aliases/{alias}", { params: { path: { name, alias: which } }, body: { version } });
    changed();
  });
  const back = (which: string) => doing.run(async () => {
    await api.POST("/v1/models/{name}/aliases/{alias}/rollback", { params: { path: { name, alias: which } } });
    changed();
  });
  const newest = versions[versions.length - 1]?.version ?? 1;
  return (
    <Card title="Aliases" wide>
      <p class="quiet">Clients that ask for <code>{name}</code> get what <code>current</code> points at. Adaptations keep the version that they were made with.</p>
      {doing.problem && <Refused problem={doing.problem} />}
      <div class="pair">
        <div>
          <ul class="aliases">
            {Object.entries(page.aliases).sort().map(([which, target]) => (
              <li key={which}>
                <strong>{which}</strong>
                <label class="inline"><span class="hidden">Version of {which}</span>
                  <select value={target} disabled={!mayChange || doing.busy} onChange={(event) => void set(which, Number(event.currentTarget.value))}>
                    {versions.map((one) => <option key={one.version} value={one.version}>v{one.version}</option>)}
                  </select>
                </label>
                <Confirmed label={`Roll back ${which}`} tone="plain" disabled={!mayChange || doing.busy} action={() => void back(which)}
                  question={`Point ${which} at the version that it pointed at before v${target}?`} />
              </li>
            ))}
          </ul>
          {mayChange ? (
            <form class="inline" onSubmit={(event) => { event.preventDefault(); void set(alias.trim(), newest).then(() => setAlias("")); }}>
              <label>New alias <input value={alias} placeholder="stable" maxLength={63} onInput={(event) => setAlias(event.currentTarget.value)} /></label>
              <button type="submit" disabled={alias.trim() === "" || doing.busy}>Point it at v{newest}</button>
            </form>
          ) : <p class="quiet">A key with the scope <code>models:write</code> can change them.</p>}
        </div>
        <Table label="History of the aliases" head={["when", "alias", "change", "#version"]}>
          {page.items.map((one, i) => (
            <tr key={i}><td><When at={one.at} /></td><th scope="row">{one.alias}</th><td><Badge>{one.action}</Badge></td><td class="number">{one.version === null ? "–" : `v${one.version}`}</td></tr>
          ))}
        </Table>
      </div>
    </Card>
  );
}
