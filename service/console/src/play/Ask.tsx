import { useEffect, useId, useState } from "preact/hooks";
import { asks, harmless, nameOf, said, short } from "../parts/asks";
import { askedIn, type Choice, controlOf, type Draft, draftOf } from "./ask";
import { type Offer, type Problem, type Send, type State, steering } from "./state";
import { Trouble } from "./Trouble";

interface Properties {
  readonly state: State;
  readonly send: Send;
  readonly elsewhere: boolean;
  readonly problem: Problem | null;
  /** Whether a click on the picture is the goal now. */
  readonly aiming: boolean;
  readonly setAiming: (on: boolean) => void;
  /** Is given the function that takes the place. */
  readonly aim: { current: ((at: readonly [number, number]) => void) | null };
}

/** What is wanted of the next attempt beyond the task itself, as far as the model was trained for it. Each change is a version. */
export function Ask({ state, send, elsewhere, problem, aiming, setAiming, aim }: Properties) {
  const { offers, asked, warnings, points } = state.asking;
  const [draft, setDraft] = useState<Draft>(() => draftOf(offers, asked));
  const known = JSON.stringify([state.model, state.adaptation?.id, asked]);
  useEffect(() => setDraft(draftOf(offers, asked)), [known]); // what the server has counts, whoever asked for it
  useEffect(() => {
    if (!aiming) return;
    const leaving = (event: KeyboardEvent) => event.key === "Escape" && setAiming(false);
    document.addEventListener("keydown", leaving);
    return () => document.removeEventListener("keydown", leaving);
  }, [aiming]);
  const [past, setPast] = useState(""); // a refusal of what is no longer in the form
  const refusal = JSON.stringify(problem);
  if (offers.length === 0) return null;

  const wanted = askedIn(draft);
  aim.current = (at) => send({ do: "ask", ask: wanted, at });
  const same = JSON.stringify(wanted) === JSON.stringify(askedIn(draftOf(offers, asked)));
  const point = () => {
    if (!aiming) send({ do: "aim", elsewhere });
    setAiming(!aiming);
  };
  return (
    <section class="ask" aria-labelledby="ask-title">
      <h2 id="ask-title">Ask for it</h2>
      <p class="quiet" role="status">{asks(asked) ? <>It is asked for {said(asked)}.</> : "Say what you want of the next attempt, with or without a demonstration. Nothing is asked for now."}</p>
      {warnings.map((warning) => <p key={warning} class="warning">{warning}.</p>)}
      {problem !== null && refusal !== past && <Trouble problem={problem} />}
      <form onSubmit={(event) => { event.preventDefault(); setPast(""); if (!same && state.phase !== "saving") send({ do: "ask", ask: wanted }); }}>
        {offers.map((offer) => {
          const choice = draft[offer.kind];
          if (choice === undefined) return null; // of the model before
          const change = (next: Partial<Choice>) => {
            setPast(refusal);
            setDraft({ ...draft, [offer.kind]: { ...choice, chosen: true, ...next } });
          };
          return (
            <div key={offer.kind} class="kind" role="group" aria-label={nameOf(offer.kind)}>
              <div class="row">
                <label class="check"><input type="checkbox" checked={choice.chosen} onChange={(event) => change({ chosen: event.currentTarget.checked })} /> {nameOf(offer.kind)}</label>
                {points && offer.kind === "goal" && !steering(state) && (
                  <button type="button" class="quiet" aria-pressed={aiming} disabled={state.phase === "saving"} onClick={point}>{aiming ? "Do not point" : "Point to it in the picture"}</button>
                )}
              </div>
              {choice.chosen && <Values offer={offer} choice={choice} change={change} />}
            </div>
          );
        })}
        <div class="row">
          <button type="submit" class={same ? "" : "main"} disabled={same || state.phase === "saving"}>{asks(wanted) || same ? "Ask for this" : "Ask for nothing"}</button>
          {asks(asked) && <button type="button" class="quiet" disabled={state.phase === "saving"} onClick={() => send({ do: "ask", ask: {} })}>Ask for nothing again</button>}
        </div>
      </form>
    </section>
  );
}

interface ValueProperties {
  readonly offer: Offer;
  readonly choice: Choice;
  readonly change: (next: Partial<Choice>) => void;
}

/** The control that fits the values of a kind. */
function Values(given: ValueProperties) {
  switch (controlOf(given.offer)) {
    case "amount": return <Amount {...given} />;
    case "numbers": return <Numbers {...given} />;
    case "number": return <Range {...given} />;
    case "text": return <Sentence {...given} />;
  }
}

/** One number: a slider over the trained range, and a field, which takes others too. */
function Range({ offer, choice, change }: ValueProperties) {
  const low = offer.low[0] ?? 0, high = offer.high[0] ?? 0, value = String(choice.value);
  const set = (text: string) => change({ value: text });
  return (
    <div class="range">
      {low < high && <input type="range" aria-label={`${offer.kind}, over the range of training`} min={low} max={high} step={(high - low) / 200} value={value} onInput={(event) => set(short(Number(event.currentTarget.value)))} />}
      <input type="number" step="any" aria-label={`${offer.kind}, as a number`} value={value} onInput={(event) => set(event.currentTarget.value)} />
      <small class="quiet">in training {short(low)} to {short(high)}</small>
    </div>
  );
}

const MOST_FIELDS = 12;

/** A field for each number, or one for all where they are many. */
function Numbers({ offer, choice, change }: ValueProperties) {
  const values = choice.value as readonly string[];
  if (offer.low.length > MOST_FIELDS) {
    return <input type="text" inputMode="decimal" aria-label={`${offer.kind}, ${offer.low.length} numbers with commas`} value={values.join(", ")} onInput={(event) => change({ value: event.currentTarget.value.split(",") })} />;
  }
  return (
    <div class="fields">
      {offer.low.map((low, i) => (
        <label key={i}>
          <span class="hidden">{offer.kind} {i + 1}</span>
          <input type="number" step="any" value={values[i] ?? ""} onInput={(event) => change({ value: offer.low.map((_, j) => (i === j ? event.currentTarget.value : values[j] ?? "")) })} />
          <small class="quiet" title="in training">{brief(low)} to {brief(offer.high[i] ?? low)}</small>
        </label>
      ))}
    </div>
  );
}

/** As good as can be, or by so much. */
function Amount({ offer, choice, change }: ValueProperties) {
  const by = typeof choice.value === "number" ? choice.value : null;
  return (
    <div class="range">
      <select aria-label={`how much ${offer.kind}`} value={by === null ? "most" : "by"} onChange={(event) => change({ value: event.currentTarget.value === "most" ? true : 0.25 })}>
        <option value="most">as good as can be</option>
        <option value="by">by so much:</option>
      </select>
      {by !== null && <input type="range" aria-label={`${offer.kind} by`} min={0} max={1} step={0.05} value={by} onInput={(event) => change({ value: Number(event.currentTarget.value) })} />}
      {by !== null && <output>{short(by)}</output>}
    </div>
  );
}

/** A sentence; those of training are suggested. */
function Sentence({ offer, choice, change }: ValueProperties) {
  const list = useId();
  return (
    <>
      <input type="text" class="sentence" aria-label={`${offer.kind}: a sentence`} autoComplete="off" list={list} placeholder={offer.examples.length > 0 ? `as “${harmless(String(offer.examples[0]))}”` : ""} value={String(choice.value)} onInput={(event) => change({ value: event.currentTarget.value })} />
      <datalist id={list}>{offer.examples.map((one) => <option key={String(one)} value={String(one)} />)}</datalist>
    </>
  );
}

function brief(value: number): string {
  return String(Number(value.toPrecision(2)));
}
