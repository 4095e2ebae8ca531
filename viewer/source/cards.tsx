// The passages of several methods side by side; one that several list is linked.
import { useState } from "preact/hooks";
import type { Data, Line, Passage, Share } from "./data";
import { Fields, Marked } from "./elements";
import { count, score } from "./numbers";
import { Shaded } from "./shades";
import type { Kind, Sought } from "./words";
import { runs } from "./words";

export type End = "p" | "o";
export const MARKS: Record<string, [kind: string, sign: string, label: string, meaning: string]> = {
  "0": ["other", "✗", "other", "not gold: it was not made from this fact"],
  "1": ["gold", "✓", "gold", "gold: it states the fact"],
  "2": ["weak", "◐", "weak", "weak: it may state the fact, but was not made from it"],
  "3": ["unknown", "", "", "the query has no gold"],
};
const LONG = 420;

export const cardId = (method: number, end: End, place: number): string => `card-${method}-${end}-${place}`;

export function scoresOf(line: Line, end: End): (number | null)[] {
  return (end === "p" ? line.s : line.os) ?? line[end].map(() => null);
}

// Arrow keys go from passage to passage, and from method to method.
function steps(event: KeyboardEvent) {
  const own = (event.target as HTMLElement).closest<HTMLElement>(".card");
  if (!own || event.target !== own) return;
  const columns = [...own.closest(".columns")!.querySelectorAll<HTMLElement>(".column")];
  const column = own.closest<HTMLElement>(".column")!;
  const cards = [...column.querySelectorAll<HTMLElement>(".card")];
  const at = cards.indexOf(own);
  const beside = (side: number) => {
    const others = columns[columns.indexOf(column) + side]?.querySelectorAll<HTMLElement>(".card");
    return others && others[Math.min(at, others.length - 1)];
  };
  const next = { ArrowDown: cards[at + 1], ArrowUp: cards[at - 1], ArrowRight: beside(1), ArrowLeft: beside(-1) }[event.key];
  if (!next) return;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  event.preventDefault();
}

export function Columns(props: {
  data: Data; lines: (Line | null)[]; methods: number[]; end: End; kinds: [Kind, Sought][]; head: (method: number) => preact.ComponentChildren;
}) {
  const { data, lines, methods, end } = props;
  const [lit, light] = useState(-1);
  return (
    <div class="columns" data-columns={Math.min(methods.length, 4)} onKeyDown={steps} role="group" aria-label={end === "p" ? "Proponents" : "Opponents"}>
      {methods.map((method) => {
        const line = lines[method];
        const label = data.index.methods[method].label;
        return (
          <section class="column" aria-label={`${label}: ${end === "p" ? "proponents" : "opponents"}`}>
            {props.head(method)}
            {line && line[end].length ? (
              <ol>
                {line[end].map((place, i) => (
                  <Card key={place} data={data} method={method} end={end} line={line} at={i} kinds={props.kinds} lit={lit === place} light={light}
                    also={methods.filter((other) => other !== method && lines[other]?.[end].includes(place)).map((other) => [other, lines[other]![end].indexOf(place) + 1])} />
                ))}
              </ol>
            ) : <p class="empty">{empty(line, end)}</p>}
          </section>
        );
      })}
    </div>
  );
}

function empty(line: Line | null, end: End): string {
  if (!line) return "This method has no ranking for this query.";
  if (end === "o" && line.tied !== undefined) return `No order: the lowest passages all have the score ${score(line.tied)}.`;
  return end === "o" ? "This ranking has no opponents." : "None.";
}

function Card(props: {
  data: Data; method: number; end: End; line: Line; at: number; kinds: [Kind, Sought][]; also: [number, number][]; lit: boolean; light: (place: number) => void;
}) {
  const { data, method, end, line, at, also } = props;
  const place = line[end][at];
  const passage = data.passageNow(place);
  const [kind, sign, label, meaning] = MARKS[(end === "p" ? line.m : line.om)[at]];
  const note = (end === "p" ? line.p_note : line.o_note)?.[at];
  const light = also.length ? { onPointerEnter: () => props.light(place), onPointerLeave: () => props.light(-1) } : {};
  return (
    <li id={cardId(method, end, place)} class={`card ${kind} ${props.lit ? "lit" : ""}`} tabIndex={at ? -1 : 0} {...light}>
      <div class="card-head">
        <span class="rank"><span class="hidden">Rank </span>{at + 1}</span>
        {sign && <span class="mark-of" title={meaning}>{sign} {label}</span>}
        {note && <span class="note">{note}</span>}
        <span class="score"><span class="hidden">score </span>{score(scoresOf(line, end)[at])}</span>
      </div>
      {passage ? <Text passage={passage} kinds={props.kinds} shares={(end === "p" ? line.p_shares : line.o_shares)?.[at] ?? null} /> : <p class="text waiting">…</p>}
      <div class="card-foot">
        {passage && (passage.fields.length ? (
          <details><summary>{passage.id}</summary><Fields fields={passage.fields} /></details>
        ) : <span class="id">{passage.id}</span>)}
        {also.length > 0 && <span class="twins">also {also.map(([other, rank]) => (
          <button type="button" class="also" onClick={() => {
            const twin = document.getElementById(cardId(other, end, place));
            twin?.focus();
            twin?.scrollIntoView({ block: "nearest", inline: "nearest" });
          }}>{rank} in {data.index.methods[other].label}</button>
        ))}</span>}
      </div>
    </li>
  );
}

function Text(props: { passage: Passage; kinds: [Kind, Sought][]; shares: Share[] | null }) {
  const { passage, kinds, shares } = props;
  const [whole, setWhole] = useState(false);
  if (passage.text === null) return <p class="text"><em>The text of this passage was not given.</em></p>;
  const long = passage.text.length > LONG;
  const from = long && !whole ? opening(passage.text, kinds) : 0;
  return (
    <>
      <p class={`text ${long && !whole ? "clamped" : ""}`} dir="auto">
        {from > 0 && "… "}
        {shares ? <Shaded text={passage.text} from={from} to={long && !whole ? from + LONG : undefined} kinds={kinds} shares={shares} />
          : <Marked text={long && !whole ? passage.text.slice(from, from + LONG) : passage.text} kinds={kinds} />}
        {long && !whole && " …"}
        {passage.cut > 0 && (!long || whole) && <em> … {count(passage.cut)} more characters</em>}
      </p>
      {long && <button type="button" class="whole" onClick={() => setWhole(!whole)}>{whole ? "Show less" : `Show all ${count(passage.text.length)} characters`}</button>}
    </>
  );
}

// Where a long text is opened: at the sentence of the target's first word, if that is not near the beginning.
function opening(text: string, kinds: [Kind, Sought][]): number {
  let end = 0;
  for (const run of runs(text, kinds.filter(([kind]) => kind === "target"))) {
    if (run.kind) {
      if (end < LONG - 60) return 0;
      const before = text.slice(Math.max(0, end - 160), end);
      const sentence = Math.max(before.lastIndexOf(". "), before.lastIndexOf("\n"), before.lastIndexOf("。"));
      return end - (sentence >= 0 ? before.length - sentence - 1 : Math.min(80, before.length));
    }
    end += run.text.length;
  }
  return 0;
}
