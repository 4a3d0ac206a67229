// The report of an evaluation as one page that opens from disk. What it shows stands in the page itself.
import "./style.css";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Controls, Curves, MethodsTable, TypesTable } from "./console/Curve";
import { planar } from "./console/episodes";
import { reportOf } from "./console/report";
import { type DrawnEpisode, EpisodeView, FilmStrip, isPictures, Legend, Paths } from "./drawing";
import { pathColour } from "./drawing/Paths";
import { Badge, Card, Empty, Fact, percent, Title } from "./parts/ui";

interface Raw {
  readonly bundle: string | null; readonly seed: number; readonly created: string; readonly manifest: { readonly name: string; readonly digest: string };
  readonly methods: Readonly<Record<string, { readonly gain: { readonly mean: number; readonly ci95: readonly [number, number] } | null }>>;
}
interface Told { readonly task: number; readonly episodes: readonly DrawnEpisode[] }
interface Filled { readonly report: Raw; readonly stories: readonly Told[] }

function ReportPage({ report, stories }: Filled) {
  const shown = reportOf(report);
  if (shown === null) return <main><Title>Report</Title><Empty title="There is no report in this page." /></main>;
  const gain = report.methods.wtl?.gain;
  return (
    <main>
      <Title under={`${shown.nTasks ?? "Some"} test tasks`}>{`Report on ${report.manifest.name}`}</Title>
      <dl class="facts">
        {gain && <Fact name="gain of the first trial" note={`95 % interval ${percent(gain.ci95[0])} to ${percent(gain.ci95[1])}`}>{percent(gain.mean)}</Fact>}
        <Fact name="seed">{report.seed}</Fact>
        <Fact name="date"><small>{report.created}</small></Fact>
        <Fact name="bundle"><small class="break">{report.bundle ?? "not said"}</small></Fact>
        <Fact name="manifest's digest"><small class="break">{report.manifest.digest}</small></Fact>
      </dl>
      <Card title="Success"><Curves named={[{ name: "wtl", methods: shown.methods }]} /><MethodsTable report={shown} /><TypesTable report={shown} /></Card>
      <Controls report={shown} />
      {stories.map((story) => <Story key={story.task} story={story} />)}
    </main>
  );
}

function Story({ story }: { readonly story: Told }) {
  const last = Math.max(...story.episodes.map((one) => one.rewards?.length ?? Object.values(one.observations)[0]?.length ?? 0));
  const [step, setStep] = useState(last);
  const [playing, setPlaying] = useState(false);
  useEffect(() => {
    if (!playing) return;
    const timer = setTimeout(() => (step >= last ? setPlaying(false) : setStep(step + 1)), 60);
    return () => clearTimeout(timer);
  }, [playing, step, last]);
  const part = planar(story.episodes[0]?.parts ?? []);
  const legend = story.episodes.map((one, i) => ({ label: one.title, values: [], dashed: one.role === "demo", colour: pathColour(story.episodes, i) - 1 }));
  return (
    <Card title={`Task ${story.task}: shown, tried, learned`}>
      <div class="inline">
        <button type="button" onClick={() => { if (step >= last) setStep(1); setPlaying(!playing); }}>{playing ? "Pause" : "Play"}</button>
        <input type="range" aria-label={`step of task ${story.task}`} min={1} max={last} value={step} onInput={(event) => { setPlaying(false); setStep(Number(event.currentTarget.value)); }} />
        <output>{step}</output>
        {story.episodes.map((one) => one.success != null && <Badge key={one.title} tone={one.success ? "good" : "bad"}>{one.title}: {one.success ? "success" : "failure"}</Badge>)}
      </div>
      {part && (
        <figure class="overview">
          <Paths label={`paths of ${story.episodes.map((one) => one.title).join(", ")}`} episodes={story.episodes} part={part.name} upTo={step} />
          <Legend lines={legend} />
          <figcaption>{part.name}[0] across, {part.name}[1] up, in step. Ring: start; disc: success; cross: failure.</figcaption>
        </figure>
      )}
      {story.episodes.map((one) => one.parts.map((part) => {
        const pictures = one.observations[part.name];
        return isPictures(pictures) && (
          <figure key={`${one.title}/${part.name}`}>
            <figcaption>{one.title} <small>{part.name}</small></figcaption>
            <FilmStrip label={`${part.name} of the ${one.title} of task ${story.task}`} pictures={pictures} steps={one.pictureSteps ?? []} />
          </figure>
        );
      }))}
      <details><summary>Every number over time</summary>{story.episodes.map((one) => <section key={one.title}><h3>{one.title}</h3><EpisodeView episode={{ ...one, parts: one.parts.filter(({ kind }) => kind !== "image") }} /></section>)}</details>
    </Card>
  );
}

const filled = JSON.parse(document.getElementById("report")!.textContent ?? "null") as Filled | null;
if (filled) document.title = `Report on ${filled.report.manifest.name}`;
render(filled ? <ReportPage {...filled} /> : <main><Empty title="There is no report in this page." command="wtl evaluate BUNDLE --report report.json" /></main>, document.getElementById("app")!);
