// What a person does with mouse, finger, keyboard or gamepad, as commands. Knows no page but the element it listens on.

import { type Command, type Controls, type Send, type State, steering } from "./state";

const REACH_PX = 70; // from where a joystick is pressed to full speed
const DEAD = 0.18; // of a gamepad's stick
const D_PAD: Readonly<Record<number, string>> = { 12: "w", 13: "s", 14: "a", 15: "d", 0: " " };

export interface Knob {
  readonly from: readonly [number, number];
  readonly to: readonly [number, number];
}

/** Sends what a person does with a picture, as long as the person steers. */
export class Input {
  #state: State | null = null;
  #seq = 0;
  #pressed: { readonly x: number; readonly y: number } | null = null;
  #held = new Set<string>();
  #waiting: Command | null = null;
  #padHeld = false;
  #padButtons = new Set<number>();
  #frame = 0;

  constructor(private readonly surface: HTMLCanvasElement, private readonly send: Send, private readonly knob: (knob: Knob | null) => void) {
    surface.addEventListener("pointerdown", this.#down);
    surface.addEventListener("pointermove", this.#move);
    surface.addEventListener("pointerup", this.#up);
    surface.addEventListener("pointercancel", this.#up);
    document.addEventListener("keydown", this.#keyDown);
    document.addEventListener("keyup", this.#keyUp);
    window.addEventListener("blur", this.#letGo);
    this.#frame = requestAnimationFrame(this.#each);
  }

  update(state: State): void {
    if (this.#state !== null && steering(this.#state) && !steering(state)) this.#letGo();
    this.#state = state;
  }

  /** A choice that was clicked. */
  readonly choose = (choice: number): void => this.#now({ do: "input", choice });

  close(): void {
    cancelAnimationFrame(this.#frame);
    this.surface.removeEventListener("pointerdown", this.#down);
    this.surface.removeEventListener("pointermove", this.#move);
    this.surface.removeEventListener("pointerup", this.#up);
    this.surface.removeEventListener("pointercancel", this.#up);
    document.removeEventListener("keydown", this.#keyDown);
    document.removeEventListener("keyup", this.#keyUp);
    window.removeEventListener("blur", this.#letGo);
  }

  get #controls(): Controls | null {
    return this.#state !== null && steering(this.#state) ? this.#state.controls : null;
  }

  readonly #down = (event: PointerEvent): void => {
    if (this.#controls?.kind !== "pointer" || event.button !== 0) return;
    event.preventDefault();
    this.surface.setPointerCapture(event.pointerId);
    this.#pressed = { x: event.clientX, y: event.clientY };
    this.#point(event);
  };

  readonly #move = (event: PointerEvent): void => {
    if (this.#pressed !== null) this.#point(event);
  };

  readonly #up = (): void => {
    if (this.#pressed === null) return;
    this.#pressed = null;
    this.knob(null);
    this.#now({ do: "input", held: false });
  };

  #point(event: PointerEvent): void {
    if (this.#controls?.follows) {
      this.#soon({ do: "input", held: true, at: placeIn(this.surface, event) });
      return;
    }
    const box = this.surface.getBoundingClientRect();
    const from = this.#pressed ?? { x: event.clientX, y: event.clientY };
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    const scale = Math.max(REACH_PX, Math.hypot(dx, dy));
    this.knob({ from: [from.x - box.left, from.y - box.top], to: [from.x - box.left + (dx / scale) * REACH_PX, from.y - box.top + (dy / scale) * REACH_PX] });
    this.#soon({ do: "input", held: true, values: [dx / scale, -dy / scale] });
  }

  readonly #keyDown = (event: KeyboardEvent): void => {
    const controls = this.#controls;
    if (controls === null || event.ctrlKey || event.metaKey || event.altKey || usesKeys(event.target)) return;
    if (controls.kind === "keys") {
      const found = controls.keys.find(({ key, other }) => event.key.toLowerCase() === key || event.code === other);
      if (found === undefined || (found.key === " " && isButton(event.target))) return;
      event.preventDefault();
      this.choose(found.action);
    } else if (event.code.startsWith("Arrow") && controls.kind === "pointer") {
      event.preventDefault();
      this.#held.add(event.code);
      this.#arrows();
    }
  };

  readonly #keyUp = (event: KeyboardEvent): void => {
    if (this.#held.delete(event.code)) this.#arrows();
  };

  #arrows(): void {
    const on = (code: string): number => (this.#held.has(code) ? 1 : 0);
    const values = [on("ArrowRight") - on("ArrowLeft"), on("ArrowUp") - on("ArrowDown")];
    this.#now({ do: "input", held: this.#held.size > 0, ...(this.#held.size > 0 ? { values } : {}) });
  }

  readonly #letGo = (): void => {
    const held = this.#pressed !== null || this.#held.size > 0;
    this.#pressed = null;
    this.#held.clear();
    this.knob(null);
    if (held && this.#controls !== null) this.#now({ do: "input", held: false });
  };

  /** Once a frame: what the pointer did last, and the gamepad, which has no events. */
  readonly #each = (): void => {
    this.#frame = requestAnimationFrame(this.#each);
    if (this.#waiting !== null) this.#now(this.#waiting);
    const controls = this.#controls;
    const pad = controls === null ? undefined : navigator.getGamepads?.().find((one) => one !== null && one.connected);
    if (controls === null || pad == null) return;
    if (controls.kind === "keys") this.#padKeys(controls, pad);
    else this.#padSticks(controls, pad);
  };

  #padKeys(controls: Controls, pad: Gamepad): void {
    pad.buttons.forEach((button, i) => {
      const before = this.#padButtons.has(i);
      if (button.pressed) this.#padButtons.add(i);
      else this.#padButtons.delete(i);
      const found = controls.keys.find(({ key }) => key === D_PAD[i]);
      if (button.pressed && !before && found !== undefined) this.choose(found.action);
    });
  }

  #padSticks(controls: Controls, pad: Gamepad): void {
    const values = controls.axes.map((_, i) => {
      const value = pad.axes[i] ?? 0;
      return Math.abs(value) < DEAD ? 0 : i % 2 === 1 ? -value : value; // up is positive
    });
    const held = values.some((value) => value !== 0);
    if (held) this.#now({ do: "input", held, values });
    else if (this.#padHeld) this.#now({ do: "input", held: false });
    this.#padHeld = held;
  }

  #soon(command: Command): void {
    this.#waiting = command;
  }

  #now(command: Command): void {
    this.#waiting = null;
    this.#seq += 1;
    this.surface.dispatchEvent(new CustomEvent("steer", { detail: { seq: this.#seq, at: performance.now() } }));
    this.send({ ...command, seq: this.#seq });
  }
}

/** Where the pointer is in the picture, 0 to 1: it is whole, and in the middle where its canvas has another shape. */
export function placeIn(canvas: HTMLCanvasElement, event: MouseEvent): readonly [number, number] {
  const box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
  const [width, height] = [canvas.width * scale, canvas.height * scale];
  return [share(event.clientX - box.left - (box.width - width) / 2, width), share(event.clientY - box.top - (box.height - height) / 2, height)];
}

function share(part: number, whole: number): number {
  return Math.min(1, Math.max(0, part / whole));
}

/** Whether letters and Enter belong to the element: a slider or a box has no use for them, but in a form, which Enter sends. */
export function isTyping(target: EventTarget | null): boolean {
  if (target instanceof HTMLInputElement && target.form !== null) return true;
  return usesKeys(target) && !(target instanceof HTMLInputElement && (target.type === "range" || target.type === "checkbox"));
}

function usesKeys(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement || target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement;
}

function isButton(target: EventTarget | null): boolean {
  return target instanceof HTMLButtonElement;
}
