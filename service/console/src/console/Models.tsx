import { api, got, type Schemas } from "../api/client";
import { useLoad } from "../parts/load";
import { to } from "../parts/router";
import { Badge, Empty, percent, Show, Title } from "../parts/ui";
import { reportOf } from "./report";

/** The models that can be adapted, in their current versions. */
export function ModelsPage() {
  const loaded = useLoad(() => got(api.GET("/v1/models")), []);
  return (
    <>
      <Title under="Policies that adapt to a task from what they are shown and what they try.">Models</Title>
      <Show loaded={loaded}>
        {({ items, unusable }) => (
          <>
            {unusable.map((one) => <p key={one.name} class="notice warn"><strong>{one.name}</strong> cannot be used: {one.reason}</p>)}
            {items.length === 0
              ? <Empty title="There is no model yet." command="wtl train reach-m2">Start a training on the page Training, or on the command line, and put its bundle into the folder of models:</Empty>
              : <ul class="models">{items.map((card) => <Tile key={card.name} card={card} />)}</ul>}
          </>
        )}
      </Show>
    </>
  );
}

function Tile({ card }: { readonly card: Schemas["ModelCard"] }) {
  const curve = reportOf(card.report)?.methods.find((method) => method.name === "wtl")?.curve ?? [];
  const first = curve[0], last = curve[curve.length - 1];
  return (
    <li class="tile">
      <h2><a href={to(["models", card.name])}>{card.name}</a></h2>
      <p><Badge>v{card.version}</Badge> {card.aliases.map((alias) => <Badge key={alias} tone="calm">{alias}</Badge>)} {card.runtime === null ? <Badge>not loaded</Badge> : <Badge>{card.runtime}</Badge>}</p>
      {first && last ? (
        <p class="rate">
          <span>{percent(first.success)}</span>
          {curve.length > 1 && <><span class="arrow" aria-label="then">→</span><strong>{percent(last.success)}</strong></>}
          <small>{curve.length > 1 ? `success, first attempt and after ${last.trials} trial${last.trials > 1 ? "s" : ""}` : "success of the first attempt"}</small>
        </p>
      ) : <p class="rate"><small>It was not evaluated: <code>wtl evaluate</code></small></p>}
      <dl class="small">
        <dt>sees</dt><dd>{card.parts.map((part) => `${part.name ? `${part.name} ` : ""}${part.kind}${part.shape.length ? ` ${part.shape.join("×")}` : ""}`).join(", ")}</dd>
        <dt>episode</dt><dd>up to {card.spec.horizon} steps at {card.spec.rate_hz} Hz</dd>
      </dl>
    </li>
  );
}
