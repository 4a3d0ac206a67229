import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { colour, onSchemeChange, series as seriesColour } from "./palette";

export interface Line {
  readonly label: string;
  readonly values: readonly (number | null)[];
  /** Lower and upper end of an interval around each value. */
  readonly low?: readonly (number | null)[];
  readonly high?: readonly (number | null)[];
  readonly dashed?: boolean;
  readonly colour?: number;
  /** Points without a line: what was measured rarely. */
  readonly points?: boolean;
}

interface Properties {
  readonly label: string;
  readonly x: readonly number[];
  readonly lines: readonly Line[];
  readonly xLabel?: string;
  readonly height?: number;
  readonly range?: readonly [number, number];
  readonly whole?: boolean;
  readonly format?: (value: number) => string;
  /** A vertical mark, as the step that a replay stands at. */
  readonly mark?: number;
}

/** Lines over time, with bands for intervals. The text of `label` says the same to those who do not see it. */
export function Lines(given: Properties) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const mark = useRef(given.mark);
  const [scheme, setScheme] = useState(0);
  const shape = JSON.stringify([given.lines.map((l) => [l.label, !!l.low, l.dashed, l.colour, l.points]), given.range]);
  mark.current = given.mark;

  useEffect(() => onSchemeChange(() => setScheme((n) => n + 1)), []);
  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const made = new uPlot(options(given, element.clientWidth || 300, mark), data(given), element);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: given.height ?? 180 }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, given.height, scheme]);
  useEffect(() => plot.current?.setData(data(given)), [given.x, given.lines]);
  useEffect(() => plot.current?.redraw(false), [given.mark]);
  return <div class="lines" ref={host} role="img" aria-label={given.label} />;
}

function data({ x, lines }: Properties): uPlot.AlignedData {
  return [[...x], ...lines.flatMap((line) => [line.values, ...(line.low && line.high ? [line.low, line.high] : [])])] as uPlot.AlignedData;
}

function options(given: Properties, width: number, mark: { current: number | undefined }): uPlot.Options {
  const grid = { stroke: colour("rule"), width: 1 };
  const axis = { stroke: colour("quiet"), grid, ticks: { ...grid, size: 4 }, font: "12px system-ui, sans-serif" };
  const format = given.format ?? ((value: number) => String(Number(value.toPrecision(4))));
  const bands: uPlot.Band[] = [];
  const series: uPlot.Series[] = [{ label: given.xLabel ?? "step" }];
  given.lines.forEach((line, i) => {
    const stroke = seriesColour(line.colour ?? i);
    const points = line.points === true;
    series.push({
      label: line.label, stroke, width: points ? 0 : 2, spanGaps: true, points: { show: points, size: 7, fill: stroke },
      value: (_, value) => (value == null ? "" : format(value)), ...(line.dashed ? { dash: [6, 4] } : {}),
    });
    if (line.low && line.high) {
      const quiet = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true };
      series.push({ ...quiet, label: `${line.label}, from` }, { ...quiet, label: `${line.label}, to` });
      bands.push({ series: [series.length - 1, series.length - 2], fill: stroke + "2e" });
    }
  });
  return {
    width, height: given.height ?? 180, series, bands, legend: { show: false },
    cursor: { y: false, points: { size: 8 }, drag: { x: false, y: false } },
    scales: { x: { time: false }, ...(given.range ? { y: { range: [...given.range] as [number, number] } } : {}) },
    axes: [
      { ...axis, size: 30, ...(given.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] } : {}) },
      { ...axis, size: 56, values: (_, ticks) => ticks.map(format) },
    ],
    hooks: { draw: [(plot) => drawMark(plot, mark.current)] },
  };
}

function drawMark(plot: uPlot, at: number | undefined): void {
  if (at === undefined) return;
  const x = Math.round(plot.valToPos(at, "x", true));
  plot.ctx.save();
  plot.ctx.strokeStyle = colour("ink");
  plot.ctx.lineWidth = 1;
  plot.ctx.beginPath();
  plot.ctx.moveTo(x, plot.bbox.top);
  plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
  plot.ctx.stroke();
  plot.ctx.restore();
}

/** What each line is, in its colour. */
export function Legend({ lines }: { readonly lines: readonly Line[] }) {
  return (
    <ul class="legend">
      {lines.map((line, i) => (
        <li key={line.label}>
          <svg class={`swatch series-${((line.colour ?? i) % 6) + 1}`} viewBox="0 0 18 8" aria-hidden="true">
            {line.points
              ? <circle cx="9" cy="4" r="3.5" />
              : <path d="M0 4 H18" {...(line.dashed ? { "stroke-dasharray": "5 3" } : {})} />}
          </svg>
          {line.label}
        </li>
      ))}
    </ul>
  );
}
