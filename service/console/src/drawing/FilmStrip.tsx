interface Properties {
  readonly label: string;
  readonly pictures: readonly string[];
  readonly steps: readonly number[];
}

/** Pictures side by side, each with the step that it was seen at. */
export function FilmStrip({ label, pictures, steps }: Properties) {
  return (
    <ol class="film" aria-label={label} tabIndex={0}>
      {pictures.map((address, i) => (
        <li key={i}>
          <img src={address} alt={`step ${steps[i] ?? i}`} loading="lazy" decoding="async" />
          <span aria-hidden="true">{steps[i] ?? i}</span>
        </li>
      ))}
    </ol>
  );
}
