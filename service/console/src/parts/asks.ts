// What is asked for, in words: on the pages of the console and in Play.

/** What is asked for, by kind. */
export type Asked = Readonly<Record<string, unknown>>;

const NAMES: Readonly<Record<string, string>> = { return: "a return", goal: "a goal", better: "better than what was shown", words: "in words" };

/** Whether anything is asked for. */
export function asks(asked: Asked): boolean {
  return Object.keys(asked).length > 0;
}

export function nameOf(kind: string): string {
  return NAMES[kind] ?? kind;
}

/** An ask in words, as "a return of 0.9, a goal at (0.3, 0.2)". */
export function said(asked: Asked): string {
  return harmless(Object.entries(asked).map(([kind, value]) => {
    if (value === true) return kind === "better" ? "to be as good as can be" : nameOf(kind);
    if (kind === "better") return `to be better by ${value}`;
    if (Array.isArray(value)) return `${nameOf(kind)} (${value.map((one) => short(one)).join(", ")})`;
    return kind === "words" ? `“${value}”` : `${nameOf(kind)} of ${typeof value === "number" ? short(value) : String(value)}`;
  }).join(", "));
}

/** What somebody wrote, to be read: marks that turn the text around them about are named, and not obeyed. */
export function harmless(text: string): string {
  return text.replace(/[\u202a-\u202e\u2066-\u2069]/g, (mark) => `⟨U+${mark.charCodeAt(0).toString(16).toUpperCase()}⟩`);
}

export function short(value: unknown): string {
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
}
