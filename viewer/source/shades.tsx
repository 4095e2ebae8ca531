// Words shaded by their share of a score: what each adds to it or takes from it.
import type { Share } from "./data";
import { score } from "./numbers";
import { runs, type Kind, type Sought } from "./words";

const LEVELS = 4;

// Places counted in characters, as the data count them, to places in a string of this script, where some take two.
function units(text: string, shares: Share[]): Share[] {
  if (!/[\ud800-\udfff]/.test(text)) return shares;
  const places = [0];
  for (const letter of text) places.push(places[places.length - 1] + letter.length);
  const at = (place: number) => places[Math.min(place, places.length - 1)];
  return shares.map(([start, end, share]) => [at(start), at(end), share]);
}

// A part of a text: its marked words, and those with a share in a shade. `from` and `to` cut the part out of the text.
export function Shaded(props: { text: string; from?: number; to?: number; kinds: [Kind, Sought][]; shares: Share[] }) {
  const { text, kinds } = props;
  const from = props.from ?? 0;
  const to = Math.min(props.to ?? text.length, text.length);
  const greatest = Math.max(...props.shares.map(([, , share]) => Math.abs(share)));
  let at = 0;
  const marked = runs(text, kinds).map((run) => ({ start: at, end: (at += run.text.length), kind: run.kind }));
  const part = (start: number, end: number) =>
    marked.filter((run) => run.start < end && run.end > start).map((run) => {
      const own = text.slice(Math.max(start, run.start), Math.min(end, run.end));
      return run.kind ? <mark class={run.kind}>{own}</mark> : own;
    });
  const shown: preact.ComponentChildren[] = [];
  const ordered = [...units(text, props.shares)].sort((one, other) => one[0] - other[0]);
  let end = from;
  for (const [start, stop, share] of ordered) {
    const level = greatest ? Math.round((Math.abs(share) / greatest) * LEVELS) : 0;
    const [left, right] = [Math.max(start, end), Math.min(stop, to)];
    if (!level || left >= right) continue;
    if (left > end) shown.push(part(end, left));
    const said = `${share > 0 ? "adds" : "takes"} ${score(Math.abs(share))}`;
    shown.push(<span class={`shade ${share > 0 ? "adds" : "takes"} level-${level}`} title={said}>{part(left, right)}</span>);
    end = right;
  }
  if (end < to) shown.push(part(end, to));
  return <>{shown}</>;
}
