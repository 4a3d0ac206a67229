// The address of the page names what is played: #/FAMILY/TASK/ADAPTATION, or #/FAMILY/TASK?model=MODEL before there is an
// adaptation, if the model is not the usual one. A bookmark comes back to it.

import { placeOf, to } from "../parts/router";
import type { Command, State } from "./state";

/** What the address asks for, if it names anything. */
export function asked(): Command | null {
  const { path: [family, task, adaptation], query } = placeOf(location.hash);
  if (!family || !task || !/^\d+$/.test(task)) return null;
  return { do: "open", family, task: Number(task), adaptation: adaptation || null, model: query.get("model") };
}

/** Let the address say what is played now. A fork or an edited copy is a new entry: "back" leads to the one before. */
export function follow({ family, task, adaptation, model, models }: State): void {
  const wanted = adaptation !== null ? to([family, task, adaptation.id]) : to([family, task], { model: model.name === models[0] ? null : model.name });
  if (location.hash === wanted) return;
  if (adaptation?.edited_from != null) history.pushState(null, "", wanted);
  else history.replaceState(null, "", wanted);
}

/** Keep the entry of what is played now: "back" leads to it from whatever is chosen next. */
export function branch(): void {
  history.pushState(null, "", location.hash);
}
