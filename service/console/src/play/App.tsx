import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { asks } from "../parts/asks";
import { asked, follow } from "./address";
import { Ask } from "./Ask";
import { Compare } from "./Compare";
import { Connection, type Frame } from "./connection";
import { Episodes } from "./Episodes";
import { Guide } from "./Guide";
import { isTyping } from "./input";
import { Knows } from "./Knows";
import { Stage } from "./Stage";
import { Keep, Task } from "./Task";
import { Trouble } from "./Trouble";
import { type Send, type State, steering } from "./state";

/** The page of `wtl play`. */
export function App() {
  const [state, setState] = useState<State | null>(null);
  const [connected, setConnected] = useState(true);
  const [elsewhere, setElsewhere] = useState(false);
  const [aiming, setAiming] = useState(false);
  const aim = useRef<((at: readonly [number, number]) => void) | null>(null);
  const draw = useRef<((frame: Frame) => Promise<void>) | null>(null);
  const early = useRef<Frame | null>(null);
  const connection = useRef<Connection | null>(null);
  const send = useCallback<Send>((command) => connection.current?.send(command), []);

  useEffect(() => {
    connection.current = new Connection({
      state: (next) => {
        setState(next);
        if (next.phase !== "broken") follow(next);
      },
      frame: async (frame) => {
        if (draw.current === null) early.current = frame;
        else await draw.current(frame);
      },
      connected: setConnected,
    }, asked);
    const back = () => {
      const wanted = asked();
      if (wanted !== null) send(wanted);
    };
    window.addEventListener("popstate", back);
    return () => window.removeEventListener("popstate", back);
  }, []);
  useShortcuts(state, send, elsewhere);

  const played = state === null || state.phase === "broken" ? "" : `${state.family} ${state.task} ${state.model.name}`;
  useEffect(() => setAiming(false), [played]); // a place in another picture, or for another model, is no goal here
  const aims = aiming && state !== null && state.phase !== "broken" && state.phase !== "saving" && !steering(state);

  if (state === null) return <main class="play"><p class="waiting">{connected ? "One moment…" : "Play does not answer. Is `wtl play` running?"}</p></main>;
  const ofAsk = state.phase !== "broken" && state.asking.offers.length > 0 && /^(body\.)?ask\b/.test(state.problem?.field ?? "");
  return (
    <main class="play">
      <Task state={state} send={send} />
      <Steps state={state} />
      {!connected && <p class="notice" role="status">The connection is lost. It comes back by itself, and nothing of the episode is lost.</p>}
      {state.problem !== null && !ofAsk && <Trouble problem={state.problem} />}
      <div class="columns">
        <div class="left">
          {state.phase !== "broken" && (
            <Stage state={state} send={send} aimed={aims ? (at) => { setAiming(false); aim.current?.(at); } : null} onReady={(drawing) => {
              draw.current = drawing;
              if (early.current !== null) void drawing(early.current);
            }} />
          )}
        </div>
        <div class="right">
          <Guide state={state} send={send} elsewhere={elsewhere} />
          {state.phase !== "broken" && <Ask state={state} send={send} elsewhere={elsewhere} problem={ofAsk ? state.problem : null} aiming={aims} setAiming={setAiming} aim={aim} />}
          <Pace state={state} send={send} elsewhere={elsewhere} setElsewhere={setElsewhere} />
          {state.phase !== "broken" && <Knows state={state} />}
        </div>
      </div>
      {state.phase !== "broken" && <Compare state={state} />}
      {state.phase !== "broken" && <Episodes state={state} send={send} />}
      <Keep state={state} send={send} />
    </main>
  );
}

/** Watch, try, learn: where we are. */
function Steps({ state }: { readonly state: State }) {
  const tried = state.episodes?.some((one) => one.role === "trial") ?? false;
  const shown = state.episodes?.some((one) => one.role === "demo") ?? false;
  const asked = state.phase !== "broken" && asks(state.asking.asked);
  const now = state.phase === "demo" || state.phase === "review" || (!shown && !asked && !tried && state.phase === "ready") ? 0
    : state.phase === "attempt" || state.phase === "score" || (state.phase === "ready" && !tried) ? 1 : 2;
  return (
    <ol class="steps" aria-label="watch, try, learn">
      {["Show", "Try", "Learn"].map((name, i) => (
        <li key={name} aria-current={i === now ? "step" : undefined} class={i < now ? "done" : ""}>{name}</li>
      ))}
    </ol>
  );
}

function Pace({ state, send, elsewhere, setElsewhere }: { readonly state: State; readonly send: Send; readonly elsewhere: boolean; readonly setElsewhere: (on: boolean) => void }) {
  if (state.phase === "broken") return null;
  return (
    <div class="pace">
      <label>
        speed
        <input type="range" min={0} max={1} step={0.01} value={Math.log(state.pace) / Math.log(60)} onInput={(event) => send({ do: "pace", steps_per_s: Math.max(1, Math.round(60 ** Number(event.currentTarget.value))) })} />
        <output>{Math.round(state.pace)} steps/s{Math.round(state.pace) === Math.round(state.rate_hz) ? ", real time" : ""}</output>
      </label>
      <label class="check"><input type="checkbox" checked={elsewhere} onChange={(event) => setElsewhere(event.currentTarget.checked)} /> each attempt from another start</label>
    </div>
  );
}

/** Keys that work anywhere on the page, unless somebody types. They need no window system: SSH forwards the page. */
function useShortcuts(state: State | null, send: Send, elsewhere: boolean): void {
  useLayoutEffect(() => { // before anybody sees what can be done now, or a key would come too early
    const pressed = (event: KeyboardEvent) => {
      if (state === null || event.ctrlKey || event.metaKey || event.altKey || event.repeat || isTyping(event.target)) return;
      const playing = state.phase === "attempt" || state.phase === "demo";
      const scoring = (playing && state.episode.step > 0) || state.phase === "score" || state.phase === "review";
      const key = event.key.toLowerCase();
      if (scoring && key === "y") send({ do: "score", success: true });
      else if (scoring && key === "n" && state.phase !== "demo") send({ do: "score", success: false });
      else if (state.phase === "attempt" && key === "t") send({ do: state.who === "person" ? "give" : "take" });
      else if (playing && key === "p") send({ do: "pause", paused: state.running });
      else if (playing && key === ".") send({ do: "step" });
      else if (state.phase === "ready" && key === "enter" && state.adaptation !== null && !(event.target instanceof HTMLButtonElement)) send({ do: "try", elsewhere });
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, [state, elsewhere]);
}
