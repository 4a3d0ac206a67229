import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Problem } from "../api/client";
import type { Loaded } from "./load";

/** The head of a page. It takes the focus, so that a screen reader says where one is. */
export function Title({ children, under, actions }: { readonly children: ComponentChildren; readonly under?: ComponentChildren; readonly actions?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <header class="title">
      <div>
        <h1 ref={heading} tabIndex={-1}>{children}</h1>
        {under != null && <p class="quiet">{under}</p>}
      </div>
      {actions != null && <div class="actions">{actions}</div>}
    </header>
  );
}

export function Refused({ problem, again }: { readonly problem: Problem; readonly again?: (() => void) | undefined }) {
  return (
    <div class="notice bad" role="alert">
      <strong>{problem.title}</strong>
      <p>{problem.detail}</p>
      {(problem.field || problem.expected || problem.got) && (
        <dl>
          {problem.field && <><dt>field</dt><dd><code>{problem.field}</code></dd></>}
          {problem.expected && <><dt>expected</dt><dd>{problem.expected}</dd></>}
          {problem.got && <><dt>got</dt><dd>{problem.got}</dd></>}
        </dl>
      )}
      {again && <button type="button" onClick={again}>Try again</button>}
    </div>
  );
}

/** What was loaded, or why it was not; what was there before stays while it is loaded again. */
export function Show<T>({ loaded, children }: { readonly loaded: Loaded<T>; readonly children: (data: T) => ComponentChildren }) {
  return (
    <>
      {loaded.problem && <Refused problem={loaded.problem} again={loaded.reload} />}
      {loaded.data !== null ? children(loaded.data) : !loaded.problem && <p class="loading" role="status">Loading…</p>}
    </>
  );
}

/** Nothing is here yet: what that means, and what to type. */
export function Empty({ title, children, command }: { readonly title: string; readonly children?: ComponentChildren; readonly command?: string }) {
  return (
    <div class="empty">
      <strong>{title}</strong>
      {children && <p>{children}</p>}
      {command && <pre tabIndex={0}><code>{command}</code></pre>}
    </div>
  );
}

export function Card({ title, children, actions, wide }: { readonly title?: ComponentChildren; readonly children: ComponentChildren; readonly actions?: ComponentChildren; readonly wide?: boolean }) {
  const id = useId();
  return (
    <section class={wide ? "card wide" : "card"} {...(title ? { "aria-labelledby": id } : {})}>
      {title && <header><h2 id={id}>{title}</h2>{actions}</header>}
      {children}
    </section>
  );
}

/** A table that scrolls sideways where it must. A head that begins with # is over numbers. */
export function Table({ label, head, children }: { readonly label: string; readonly head: readonly string[]; readonly children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={label}>
      <table>
        <thead><tr>{head.map((name, i) => <th key={i} scope="col" class={name.startsWith("#") ? "number" : ""}>{name.replace(/^#/, "")}</th>)}</tr></thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export type Tone = "good" | "bad" | "warn" | "calm" | "plain";

export function Badge({ tone = "plain", children }: { readonly tone?: Tone; readonly children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export function Fact({ name, children, note }: { readonly name: string; readonly children: ComponentChildren; readonly note?: ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
      {note != null && <dd class="note">{note}</dd>}
    </div>
  );
}

export function When({ at }: { readonly at: string | null }) {
  if (at === null) return <>–</>;
  const date = new Date(at);
  return <time dateTime={at} title={date.toLocaleString()}>{ago((Date.now() - date.getTime()) / 1000)}</time>;
}

function ago(seconds: number): string {
  const size = Math.abs(seconds);
  const said = size < 60 ? `${Math.round(size)} s` : size < 3600 ? `${Math.round(size / 60)} min`
    : size < 172800 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86400)} days`;
  return seconds < 0 ? `in ${said}` : `${said} ago`;
}

/** A button whose effect cannot be undone: it asks in a dialogue of the browser's own, with its focus trap. */
export function Confirmed({ label, question, action, tone = "bad", disabled = false }: {
  readonly label: string; readonly question: string; readonly action: () => void; readonly tone?: "bad" | "plain"; readonly disabled?: boolean;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  return (
    <>
      <button type="button" class={tone === "bad" ? "danger" : ""} disabled={disabled} onClick={() => dialog.current?.showModal()}>{label}</button>
      <dialog ref={dialog} aria-labelledby={id}>
        <form method="dialog">
          <p id={id}>{question}</p>
          <div class="actions">
            <button type="submit">Keep it as it is</button>
            <button type="submit" class={tone === "bad" ? "danger solid" : "solid"} onClick={action}>{label}</button>
          </div>
        </form>
      </dialog>
    </>
  );
}

/** A text that stays as it is for a moment before it counts, so that typing asks the server once. */
export function useSettled<T>(value: T, ms = 200): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

export function percent(share: number | null | undefined, digits = 1): string {
  if (share == null) return "–";
  // 99.95 % is not all of it.
  const most = share < 1 ? 100 - 10 ** -digits : 100;
  return `${Math.min(100 * share, most).toFixed(digits)} %`;
}

export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const i = n < 1 ? 0 : Math.min(Math.floor(Math.log10(n) / 3), units.length - 1);
  return `${(n / 1000 ** i).toFixed(i && n / 1000 ** i < 10 ? 1 : 0)} ${units[i]}`;
}

export function milliseconds(seconds: number): string {
  const ms = seconds * 1000;
  return ms < 1 ? `${ms.toFixed(2)} ms` : ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`;
}
