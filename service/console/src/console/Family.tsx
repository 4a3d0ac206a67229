import type { Schemas } from "../api/client";
import { said as asksFor } from "../parts/asks";
import { to } from "../parts/router";
import { When } from "../parts/ui";

type Member = Schemas["FamilyMember"];

/** Versions in a row, and forks below the version that they started from. */
export function FamilyTree({ family, id, version }: { readonly family: readonly Member[]; readonly id: string; readonly version: number }) {
  const ids = new Set(family.map((one) => one.id));
  const first = family.filter((one) => one.forked_from === null || !ids.has(one.forked_from.id));
  return <ul class="tree">{first.map((one) => <Branch key={one.id} member={one} family={family} id={id} version={version} />)}</ul>;
}

function Branch({ member, family, id, version }: { readonly member: Member; readonly family: readonly Member[]; readonly id: string; readonly version: number }) {
  const forks = family.filter((one) => one.forked_from?.id === member.id);
  return (
    <li>
      <div class="branch">
        {member.forked_from && <small>fork of v{member.forked_from.version}</small>}
        <code>{member.id.slice(0, 10)}</code>
        <ol class="versions">
          {member.versions.map((one, i) => (
            <li key={one.version}>
              <a href={to(["adaptations", member.id], { version: one.version })} title={said(one, member.versions[i - 1])}
                {...(member.id === id && one.version === version ? { "aria-current": "true" as const } : {})}>v{one.version}</a>
            </li>
          ))}
        </ol>
        <small><When at={member.created_at} /></small>
      </div>
      {forks.length > 0 && <ul>{forks.map((one) => <Branch key={one.id} member={one} family={family} id={id} version={version} />)}</ul>}
    </li>
  );
}

function said(one: Schemas["VersionState"], before: Schemas["VersionState"] | undefined): string {
  const demos = one.n_demos - (before?.n_demos ?? 0), trials = one.n_trials - (before?.n_trials ?? 0);
  const asked = JSON.stringify(one.ask) !== JSON.stringify(before?.ask ?? {});
  return [demos && `${demos} demonstration${demos > 1 ? "s" : ""}`, trials && `${trials} trial${trials > 1 ? "s" : ""}`, asked && `asks for ${asksFor(one.ask) || "nothing"}`].filter(Boolean).join(", ") || "nothing added";
}
