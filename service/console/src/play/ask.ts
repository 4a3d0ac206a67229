// What a person is about to ask for: a value for each kind that the model offers, and whether it is chosen. Knows no page.
// The controls follow from the values, so a kind of ask that is added to the service needs nothing here but a name.

import type { Asked } from "../parts/asks";
import type { Offer } from "./state";

/** "amount": true or a number from 0 to 1; "numbers": a list; "number": one of a range; "text": a sentence. */
export type Control = "amount" | "numbers" | "number" | "text";

export interface Choice {
  readonly control: Control;
  readonly chosen: boolean;
  /** What a person has set or typed: true or a number, the text of each field, of one field, or a sentence. */
  readonly value: boolean | number | string | readonly string[];
}

export type Draft = Readonly<Record<string, Choice>>;

export function controlOf({ examples, low }: Offer): Control {
  if (examples.includes(true)) return "amount";
  if (Array.isArray(examples[0])) return "numbers";
  return low.length === 1 ? "number" : "text";
}

/** What is asked for now, and for the other kinds what a person might begin with. */
export function draftOf(offers: readonly Offer[], asked: Asked): Draft {
  return Object.fromEntries(offers.map((offer) => {
    const given = asked[offer.kind];
    return [offer.kind, { control: controlOf(offer), chosen: given !== undefined, value: shown(offer, given ?? usual(offer)) }];
  }));
}

/** The chosen values as the API has them. A field without a number is null, which the server refuses with its name. */
export function askedIn(draft: Draft): Asked {
  return Object.fromEntries(Object.entries(draft).filter(([, one]) => one.chosen).map(([kind, one]) => [kind, plain(one)]));
}

function usual(offer: Offer): unknown {
  switch (controlOf(offer)) {
    case "amount": return true;
    case "numbers": return offer.examples[0];
    case "number": return offer.high[0];
    case "text": return "";
  }
}

function shown(offer: Offer, value: unknown): Choice["value"] {
  switch (controlOf(offer)) {
    case "amount": return typeof value === "number" ? value : true;
    case "numbers": return (Array.isArray(value) ? value : []).map(String);
    case "number": return String(value);
    case "text": return typeof value === "string" ? value : JSON.stringify(value);
  }
}

function plain({ control, value }: Choice): unknown {
  if (control === "numbers") return (value as readonly string[]).map(numberIn);
  if (control === "text") return String(value).trim().replace(/\s+/g, " ");
  return control === "number" ? numberIn(String(value)) : value;
}

function numberIn(text: string): number | null {
  return text.trim() === "" || Number.isNaN(Number(text)) ? null : Number(text);
}
