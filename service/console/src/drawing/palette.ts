// The colours of drawings, from the style sheet, so that light and dark have one home. They stand apart for the
// colour-blind too (Okabe and Ito, with a light and a dark variant); shapes and dashes say the same without colour.

export const N_SERIES = 6;

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || "gray";
}

export function series(i: number): string {
  return colour(`series-${(i % N_SERIES) + 1}`);
}

/** Calls back when the person's system goes from light to dark or back; returns what ends it. */
export function onSchemeChange(callback: () => void): () => void {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", callback);
  return () => scheme.removeEventListener("change", callback);
}
