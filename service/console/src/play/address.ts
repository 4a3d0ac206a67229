// The address of the page names what is played: #/FAMILY/TASK/ADAPTATION. A bookmark comes back to it.

import type { Command, State } from "./state";

/** What the address asks for, if it names anything. */
export function asked(): Command | null {
  const [family, task, adaptation] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (!family || !task || !/^\d+$/.test(task)) return null;
  return { do: "open", family, task: Number(task), adaptation: adaptation || null };
}

/** Let the address say what is played now. A fork or an edited copy is a new entry: "back" leads to the one before. */
export function follow(state: State): void {
  const parts = [state.family, String(state.task), ...(state.adaptation === null ? [] : [state.adaptation.id])];
  const wanted = `#/${parts.map(encodeURIComponent).join("/")}`;
  if (location.hash === wanted) return;
  if (state.adaptation?.edited_from != null) history.pushState(null, "", wanted);
  else history.replaceState(null, "", wanted);
}
