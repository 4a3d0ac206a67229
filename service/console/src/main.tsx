import "./style.css";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { AdaptationPage } from "./console/Adaptation";
import { AdaptationsPage } from "./console/Adaptations";
import { JobPage } from "./console/Job";
import { ModelPage } from "./console/Model";
import { ModelsPage } from "./console/Models";
import { OperationsPage } from "./console/Operations";
import { SignIn } from "./console/SignIn";
import { TrainingPage } from "./console/Training";
import type { Problem } from "./api/client";
import { asProblem } from "./parts/load";
import { type Place, to, usePlace } from "./parts/router";
import { type Caller, findCaller, signOut } from "./parts/session";
import { Empty, Refused, Title } from "./parts/ui";

const PAGES = [
  { path: "models", name: "Models", scope: "models:read" },
  { path: "adaptations", name: "Adaptations", scope: "adapt" },
  { path: "training", name: "Training", scope: "jobs" },
  { path: "operations", name: "Operations", scope: null },
] as const;

function Console() {
  const place = usePlace();
  const [caller, setCaller] = useState<Caller | null | undefined>(undefined);
  const [problem, setProblem] = useState<Problem | null>(null);
  const find = () => {
    setProblem(null);
    findCaller().then(setCaller, (error: unknown) => setProblem(asProblem(error)));
  };
  useEffect(find, []);
  if (problem) return <main class="alone"><h1>The console cannot open</h1><Refused problem={problem} again={find} /></main>;
  if (caller === undefined) return <main class="alone"><p class="loading" role="status">Loading…</p></main>;
  if (caller === null) return <SignIn signedIn={find} />;
  const at = place.path[0] ?? "models";
  const page = PAGES.find((one) => one.path === at);
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.querySelector<HTMLElement>("main h1")?.focus(); }}>Skip to the content</a>
      <nav class="side" aria-label="Pages">
        <a class="brand" href="#/models">
          <svg viewBox="0 0 32 32" aria-hidden="true"><path d="M6 23 C10 9 15 9 17 16 S23 24 26 9" /><circle cx="26" cy="9" r="3" /></svg>
          <span>watch, try, learn</span>
        </a>
        <ul>
          {PAGES.map((one) => (
            <li key={one.path}><a href={to([one.path])} {...(one.path === at ? { "aria-current": "page" as const } : {})}>{one.name}</a></li>
          ))}
        </ul>
        <div class="who">
          {caller.key === null ? <span>no key needed here</span> : (
            <>
              <span>tenant <strong>{caller.tenant}</strong></span>
              <span><code>{caller.key}…</code></span>
              <button type="button" onClick={() => void signOut().then(find)}>Sign out</button>
            </>
          )}
          <a href="../docs">API documentation</a>
        </div>
      </nav>
      <main id="main" key={place.path.join("/")}>
        {!page ? <><Title>No such page</Title><Empty title="This address leads nowhere.">Choose a page on the left.</Empty></>
          : page.scope !== null && !caller.scopes.includes(page.scope)
            ? <><Title>{page.name}</Title><Empty title={`This key has not the scope ${page.scope}.`} command={`wtl keys create --tenant ${caller.tenant} --scopes ${page.scope}`}>Whoever operates the server makes one that has it:</Empty></>
            : <Page place={place} caller={caller} />}
      </main>
    </div>
  );
}

function Page({ place, caller }: { readonly place: Place; readonly caller: Caller }) {
  const [at = "models", first, second, third] = place.path;
  if (at === "models") return first === undefined ? <ModelsPage /> : <ModelPage name={first} version={second} against={third} mayChange={caller.scopes.includes("models:write")} />;
  if (at === "adaptations") return first === undefined ? <AdaptationsPage query={place.query} /> : <AdaptationPage id={first} version={place.query.get("version")} />;
  if (at === "training") return first === undefined ? <TrainingPage /> : <JobPage id={first} />;
  return <OperationsPage caller={caller} />;
}

render(<Console />, document.getElementById("app")!);
