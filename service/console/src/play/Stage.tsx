import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Frame } from "./connection";
import { Input, type Knob, placeIn } from "./input";
import { count, type Send, type State, steering } from "./state";

interface Properties {
  readonly state: State;
  readonly send: Send;
  /** Takes the place in the picture that a person points to, while one is asked for. */
  readonly aimed: ((at: readonly [number, number]) => void) | null;
  /** Is given the function that draws a picture. */
  readonly onReady: (draw: (frame: Frame) => Promise<void>) => void;
}

/** The environment, as it is now, and the place where a person steers it. */
export function Stage({ state, send, aimed, onReady }: Properties) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const input = useRef<Input | null>(null);
  const [knob, setKnob] = useState<Knob | null>(null);
  const [[width, height], setSize] = useState<readonly [number, number]>([1, 1]);
  const steers = steering(state);

  useEffect(() => {
    const surface = canvas.current!;
    input.current = new Input(surface, send, setKnob);
    onReady(async (frame) => {
      const bitmap = await createImageBitmap(frame.picture);
      if (surface.width !== bitmap.width || surface.height !== bitmap.height) {
        [surface.width, surface.height] = [bitmap.width, bitmap.height];
        setSize([bitmap.width, bitmap.height]);
      }
      surface.getContext("2d")!.drawImage(bitmap, 0, 0);
      bitmap.close();
      surface.dispatchEvent(new CustomEvent("shown", { detail: { seq: frame.seq, step: frame.step, at: performance.now() } }));
    });
    return () => input.current?.close();
  }, []);
  useLayoutEffect(() => input.current?.update(state));
  const aiming = aimed !== null;
  useEffect(() => {
    if (aiming) canvas.current?.scrollIntoView({ block: "nearest" }); // on a phone it is far above what asks for it
  }, [aiming]);

  return (
    <div class={`picture ${state.phase} ${state.who}${steers ? " steers" : ""}${aiming ? " aiming" : ""}`}>
      <div class="view">
        <canvas ref={canvas} class={state.controls.kind} tabIndex={0} role="img" aria-label={described(state)} onClick={(event) => aimed?.(placeIn(event.currentTarget, event))} />
        {state.asking.place !== null && <Goal at={state.asking.place} width={width} height={height} />}
      </div>
      {knob !== null && (
        <svg class="knob" aria-hidden="true">
          <circle cx={knob.from[0]} cy={knob.from[1]} r="34" />
          <line x1={knob.from[0]} y1={knob.from[1]} x2={knob.to[0]} y2={knob.to[1]} />
          <circle class="end" cx={knob.to[0]} cy={knob.to[1]} r="13" />
        </svg>
      )}
      {aiming ? <p class="badge">Click where it should go <kbd>Esc</kbd></p> : <Badge state={state} />}
      {steers && state.controls.kind === "keys" && <Keys state={state} choose={(action) => input.current?.choose(action)} />}
      {steers && state.controls.kind === "axes" && <Axes state={state} send={send} />}
    </div>
  );
}

/** The goal that is asked for, over the picture, which lies in its canvas as this does. */
function Goal({ at: [x, y], width, height }: { readonly at: readonly [number, number]; readonly width: number; readonly height: number }) {
  const r = 0.03 * Math.max(width, height);
  const [left, top] = [x * width, y * height];
  const way = `M${left - 1.7 * r} ${top} h${1.2 * r} M${left + 0.5 * r} ${top} h${1.2 * r} M${left} ${top - 1.7 * r} v${1.2 * r} M${left} ${top + 0.5 * r} v${1.2 * r}`;
  return (
    <svg class="goal" viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      {["under", "over"].map((name) => <g key={name} class={name}><circle cx={left} cy={top} r={r} /><path d={way} /></g>)}
    </svg>
  );
}

/** Who acts, and how far the episode is. */
function Badge({ state }: { readonly state: State }) {
  const names = { person: "you", expert: "the expert", policy: "the policy" };
  const { step, success, scene } = state.episode;
  if (state.phase === "ready" && step > 0 && success !== null) {
    return <p class={`badge ${success ? "success" : "failure"}`}>{success ? "✓" : "✕"} {scene === "demo" ? "shown" : success ? "success" : "failure"} after {count(step, "step")}</p>;
  }
  if (state.phase !== "demo" && state.phase !== "attempt") return null;
  return (
    <p class="badge">
      <span class={`dot ${state.running ? "on" : ""}`} aria-hidden="true" />
      {names[state.who]} · step {step} of at most {state.horizon}
      {state.episode.reward !== 0 && ` · reward ${state.episode.reward}`}
    </p>
  );
}

function described(state: State): string {
  const doing = { person: "you steer", expert: "the expert shows", policy: "the policy acts" }[state.who];
  const playing = state.phase === "demo" || state.phase === "attempt";
  return `The task ${state.family} ${state.task}${playing ? `, ${doing}, step ${state.episode.step}` : ""}${state.asking.place === null ? "" : ", a cross where the goal is"}`;
}

const NAMES: Readonly<Record<string, string>> = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Space: "stay" };
const PLACES: Readonly<Record<string, string>> = { w: "up", s: "down", a: "left", d: "right", " ": "middle" };

/** One button for each choice: arrows where the environment names them. */
function Keys({ state, choose }: { readonly state: State; readonly choose: (action: number) => void }) {
  const { keys, choices } = state.controls;
  const named = new Map(keys.map((one) => [one.action, one]));
  return (
    <div class={`keys ${keys.some(({ other }) => other?.startsWith("Arrow")) ? "cross" : ""}`} role="group" aria-label="actions">
      {choices.map((action) => {
        const key = named.get(action);
        const label = key === undefined ? String(action) : key.other === null ? key.key : NAMES[key.other] ?? key.key;
        return (
          <button key={action} type="button" class={`key ${key ? PLACES[key.key] ?? "" : ""}`} onClick={() => choose(action)} title={`action ${action}${key ? `, key ${key.key === " " ? "space" : key.key}` : ""}`}>
            {label}
          </button>
        );
      })}
    </div>
  );
}

/** A slider for each number; time runs while "go" is held. */
function Axes({ state, send }: { readonly state: State; readonly send: Send }) {
  const [values, setValues] = useState(state.controls.axes.map(() => 0));
  const [going, setGoing] = useState(false);
  const tell = (given: readonly number[], held: boolean) => send({ do: "input", held, ...(held ? { values: given } : {}) });
  const change = (i: number, value: number) => {
    const next = values.map((one, j) => (i === j ? value : one));
    setValues(next);
    if (going) tell(next, true);
  };
  const go = (on: boolean) => {
    setGoing(on);
    tell(values, on);
  };
  return (
    <div class="axes">
      {state.controls.axes.map((axis, i) => (
        <label key={i}>
          <span>{i + 1}</span>
          <input type="range" min={-1} max={1} step={axis.whole ? 2 / Math.max(1, axis.high - axis.low) : 0.02} value={values[i]} onInput={(event) => change(i, Number(event.currentTarget.value))} onDblClick={() => change(i, 0)} />
          <output>{(axis.low + (((values[i] ?? 0) + 1) / 2) * (axis.high - axis.low)).toFixed(axis.whole ? 0 : 2)}</output>
        </label>
      ))}
      <div class="row">
        <button type="button" aria-pressed={going} onClick={() => go(!going)}>{going ? "Stand still" : "Go"}</button>
        <button type="button" class="quiet" onClick={() => { send({ do: "input", held: true, values }); send({ do: "step" }); setGoing(false); }}>One step</button>
        <button type="button" class="quiet" onClick={() => { setValues(values.map(() => 0)); if (going) tell(values.map(() => 0), true); }}>Centre all</button>
      </div>
    </div>
  );
}
