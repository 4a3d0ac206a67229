import type { ComponentChildren } from "preact";
import { asks } from "../parts/asks";
import { type Controls, type Send, type State, percent } from "./state";

interface Properties {
  readonly state: State;
  readonly send: Send;
  readonly elsewhere: boolean;
}

/** What is going on, in one sentence, and what a person can do about it. The first button is the usual next step. */
export function Guide(given: Properties) {
  const { title, text, buttons } = words(given);
  return (
    <section class="guide" aria-live="polite">
      <h2>{title}</h2>
      <p>{text}</p>
      {buttons && <div class="row">{buttons}</div>}
    </section>
  );
}

interface Words {
  readonly title: ComponentChildren;
  readonly text: ComponentChildren;
  readonly buttons?: ComponentChildren;
}

function words(given: Properties): Words {
  const { state, send } = given;
  switch (state.phase) {
    case "demo":
      return showing(state, send);
    case "attempt":
      return trying(state, send);
    case "review":
      return {
        title: state.episode.over ? "That did not reach the goal" : "Is this the demonstration?",
        text: "Use it all the same if it shows what you mean, or begin again.",
        buttons: (
          <>
            <button type="button" class="main" onClick={() => send({ do: "demo", by: "person" })}>Begin again</button>
            <button type="button" onClick={() => send({ do: "score", success: true })}>Use it</button>
            <button type="button" class="quiet" onClick={() => send({ do: "discard" })}>Drop it</button>
          </>
        ),
      };
    case "score":
      return { title: "How did it go?", text: "This environment does not say. Your word is what the policy learns from.", buttons: <Scores send={send} /> };
    case "saving":
      return { title: "Learning…", text: "The server gets to know it. There is no gradient step, so this takes milliseconds." };
    case "broken":
      return { title: "Nothing can be played", text: state.problem?.detail ?? "" };
    case "ready":
      return ready(given);
  }
}

function ready({ state, send, elsewhere }: Properties): Words {
  const demos = state.episodes.filter((one) => one.role === "demo");
  const trials = state.episodes.filter((one) => one.role === "trial");
  const attempt = (label: string, main = true) => (
    <button type="button" class={main ? "main" : ""} onClick={() => send({ do: "try", elsewhere })}>{label}{main && <> <kbd>Enter</kbd></>}</button>
  );
  const show = (main: boolean) => (
    <>
      <button type="button" class={main ? "main" : ""} onClick={() => send({ do: "demo", by: "person" })}>{main ? "Show it myself" : demos.length === 0 ? "Show it" : "Show it again"}</button>
      {state.expert && <button type="button" onClick={() => send({ do: "demo", by: "expert" })}>Let the expert show it</button>}
    </>
  );
  const last = trials[trials.length - 1];
  const asked = asks(state.asking.asked);
  if (last === undefined && demos.length === 0 && asked) {
    return { title: "Now let it try", text: "You have asked for something, which is all that it knows. You may show it the task too.", buttons: <>{attempt("Let it try")}{show(false)}</> };
  }
  if (last === undefined && demos.length === 0) {
    return { title: "Show it a task", text: "Do it once, and it will try to do the same.", buttons: <>{show(true)}{attempt("Try without", false)}</> };
  }
  const sure = state.adaptation?.confidence;
  if (last === undefined) {
    const text = sure == null ? "It has seen your demonstration." : `It has seen the demonstration, and is ${percent(sure)} sure that its first attempt will succeed.`;
    return { title: "Now let it try", text, buttons: <>{attempt("Let it try")}{show(false)}</> };
  }
  const next = sure == null ? "" : ` It is ${percent(sure)} sure of the next attempt.`;
  if (last.success === true) {
    const title = trials.length === 1 ? "It succeeded at once" : "It has learned it";
    return { title, text: `Attempt ${trials.length} was a success.${next}`, buttons: <>{attempt("Once more")}<button type="button" onClick={() => send({ do: "choose" })}>Another task</button></> };
  }
  const title = last.success === false ? "That failed, and it has learned from it" : "It has tried";
  if (asked) return { title, text: `It has learned from attempt ${trials.length}, and is asked for something.${next}`, buttons: <>{attempt("Try again")}{show(false)}</> };
  return { title, text: `Attempt ${trials.length} told it what your demonstration left open.${next}`, buttons: <>{attempt("Try again")}{show(false)}</> };
}

function showing(state: State, send: Send): Words {
  const mine = state.who === "person";
  const drop = <button type="button" class="quiet" onClick={() => send({ do: "discard" })}>Drop it</button>;
  if (!mine) {
    return { title: "The expert shows it", text: "Watch. This is all that the policy will be told about the task.", buttons: <><Pause state={state} send={send} />{drop}</> };
  }
  const begun = state.episode.step > 0;
  return {
    title: "Your turn: show it",
    text: <>{howTo(state.controls)} The episode ends by itself at the goal{begun ? "" : "; time runs only while you act"}.</>,
    buttons: <>{begun && <button type="button" class="main" onClick={() => send({ do: "score", success: true })}>Done, that is it <kbd>Y</kbd></button>}{drop}</>,
  };
}

function trying(state: State, send: Send): Words {
  if (state.who === "person") {
    return {
      title: "You have taken over",
      text: <>{howTo(state.controls)} Then give back, and the policy goes on from there.</>,
      buttons: <><button type="button" class="main" onClick={() => send({ do: "give" })}>Give back <kbd>T</kbd></button><Scores send={send} started={state.episode.step > 0} /></>,
    };
  }
  return {
    title: state.running ? "It tries" : "It waits",
    text: "You can stop it, take over in the middle, or say how it goes.",
    buttons: <><Pause state={state} send={send} /><button type="button" onClick={() => send({ do: "take" })}>Take over <kbd>T</kbd></button><Scores send={send} started={state.episode.step > 0} /></>,
  };
}

function Pause({ state, send }: { readonly state: State; readonly send: Send }) {
  return (
    <>
      <button type="button" class={state.running ? "" : "main"} onClick={() => send({ do: "pause", paused: state.running })}>{state.running ? "Pause" : "Go on"} <kbd>P</kbd></button>
      {!state.running && <button type="button" onClick={() => send({ do: "step" })}>One step <kbd>.</kbd></button>}
    </>
  );
}

function Scores({ send, started = true }: { readonly send: Send; readonly started?: boolean }) {
  return (
    <span class="scores">
      <button type="button" class="good" disabled={!started} onClick={() => send({ do: "score", success: true })}>✓ Success <kbd>Y</kbd></button>
      <button type="button" class="bad" disabled={!started} onClick={() => send({ do: "score", success: false })}>✕ Failure <kbd>N</kbd></button>
    </span>
  );
}

function howTo(controls: Controls): ComponentChildren {
  switch (controls.kind) {
    case "keys":
      return controls.keys.some(({ other }) => other?.startsWith("Arrow")) ? "Move with the arrow keys, one step each." : "Choose with the keys or buttons, one step each.";
    case "axes":
      return "Set the sliders and press Go, or use a gamepad.";
    case "pointer":
      return controls.follows ? "Press in the picture where it should go, and hold." : "Press in the picture and pull in a direction, or hold the arrow keys.";
  }
}
