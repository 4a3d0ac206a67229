// The one WebSocket of the page: states and pictures in, commands out. It comes back by itself, to the same player.

import type { Command, State } from "./state";

export interface Frame {
  readonly n: number;
  readonly step: number;
  readonly seq: number;
  readonly picture: Blob;
}

interface Listeners {
  readonly state: (state: State) => void;
  readonly frame: (frame: Frame) => Promise<void>;
  readonly connected: (connected: boolean) => void;
}

/** The server closes with it when the same page id has connected again: this tab is a copy, or the other one is. */
const ELSEWHERE = 4000;
const LONGEST_WAIT_MS = 3000;

export class Connection {
  #socket: WebSocket | null = null;
  #wait = 200;
  #drawing = false;
  #next: Frame | null = null;

  constructor(private readonly listeners: Listeners, private readonly hello: () => Command | null) {
    this.#connect();
  }

  readonly send = (command: Command): void => this.#write(command);

  #write(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #connect(): void {
    const address = new URL(`socket?page=${pageId()}`, document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#wait = 200;
      this.listeners.connected(true);
      const hello = this.hello();
      if (hello !== null) this.#write(hello);
    };
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (typeof data === "string") this.listeners.state(JSON.parse(data) as State);
      else void this.#show(frameOf(data));
    };
    let opened = false;
    socket.addEventListener("open", () => (opened = true));
    socket.onclose = ({ code }) => {
      this.listeners.connected(false);
      if (!opened) void reloadIfRefused();
      if (code === ELSEWHERE) newPageId();
      setTimeout(() => this.#connect(), this.#wait);
      this.#wait = Math.min(LONGEST_WAIT_MS, this.#wait * 1.7);
    };
    this.#socket = socket;
  }

  /** Draw the newest picture only; each one that was drawn is acknowledged, and the server sends no other before. */
  async #show(frame: Frame): Promise<void> {
    this.#next = frame;
    if (this.#drawing) return;
    this.#drawing = true;
    while (this.#next !== null) {
      const now: Frame = this.#next;
      this.#next = null;
      await this.listeners.frame(now);
      this.#write({ shown: now.n });
    }
    this.#drawing = false;
  }
}

/** A browser does not tell why a socket was refused. Without a token that counts, the page says where there is one. */
async function reloadIfRefused(): Promise<void> {
  const answer = await fetch("./", { method: "HEAD" }).catch(() => null);
  if (answer?.status === 401) location.reload();
}

function frameOf(data: ArrayBuffer): Frame {
  const length = new DataView(data).getUint32(0, true);
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length))) as Omit<Frame, "picture">;
  return { ...about, picture: new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }) };
}

const KEY = "wtl-play-page";

/** A name for this tab, which survives a reload, so that an episode does too. */
function pageId(): string {
  return sessionStorage.getItem(KEY) ?? newPageId();
}

function newPageId(): string {
  const made = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem(KEY, made);
  return made;
}
