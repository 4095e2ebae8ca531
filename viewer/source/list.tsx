// The list of queries: only the rows in sight are in the document, and one Tab leads past all of them.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Data } from "./data";
import { count } from "./numbers";

const ROW = 66; // pixels, as in page.css
const AROUND = 6;

export function List(props: { data: Data; matches: Int32Array; query: number; methods: number[]; choose: (query: number, open: boolean) => void }) {
  const { data, matches, query, methods, choose } = props;
  const frame = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState({ top: 0, height: 800 });
  const place = matches.indexOf(query);

  useLayoutEffect(() => {
    const own = frame.current!;
    const look = () => setSeen({ top: own.scrollTop, height: own.clientHeight });
    look();
    const watcher = new ResizeObserver(look);
    watcher.observe(own);
    own.addEventListener("scroll", look, { passive: true });
    return () => {
      watcher.disconnect();
      own.removeEventListener("scroll", look);
    };
  }, []);
  useEffect(() => {
    const own = frame.current!;
    if (place < 0) own.scrollTop = 0;
    else if (place * ROW < own.scrollTop) own.scrollTop = Math.max(0, (place - 1) * ROW);
    else if ((place + 1) * ROW > own.scrollTop + own.clientHeight) own.scrollTop = (place + 2) * ROW - own.clientHeight;
  }, [place, matches]);

  const move = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor(seen.height / ROW) - 1);
    const step: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -matches.length, End: matches.length };
    if (event.key === "Enter" && place >= 0) {
      choose(query, true);
      document.getElementById("query")?.focus();
    } else if (event.key in step && matches.length) {
      choose(matches[Math.min(matches.length - 1, Math.max(0, place + step[event.key]))], false);
    } else return;
    event.preventDefault();
  };

  const from = Math.max(0, Math.floor(seen.top / ROW) - AROUND);
  const to = Math.min(matches.length, Math.ceil((seen.top + seen.height) / ROW) + AROUND);
  const rows = [];
  for (let at = from; at < to; at++) rows.push(<Row data={data} key={matches[at]} query={matches[at]} at={at} of={matches.length} methods={methods} chosen={at === place} choose={choose} />);
  const seenNow = place >= from && place < to;
  return (
    <div ref={frame} class="list" role="listbox" aria-label="Queries found" tabIndex={0} aria-activedescendant={seenNow ? `row-${query}` : undefined} onKeyDown={move}>
      <div role="presentation" class="rows" style={{ height: `${matches.length * ROW}px` }}>{rows}</div>
    </div>
  );
}

function Row(props: { data: Data; query: number; at: number; of: number; methods: number[]; chosen: boolean; choose: (query: number, open: boolean) => void }) {
  const { data, query, methods } = props;
  const { prompt, target, exact, judged, first } = data.index.queries;
  return (
    <div id={`row-${query}`} class="row" role="option" aria-selected={props.chosen} aria-setsize={props.of} aria-posinset={props.at + 1}
      style={{ top: `${props.at * ROW}px` }} onClick={() => props.choose(query, true)}>
      <span class="row-text" dir="auto">
        {exact[query] === false && <span class="inexact" title="not answered exactly" aria-label="not answered exactly">✗ </span>}
        {prompt[query]}
        <b>{target[query]}</b>
      </span>
      {judged[query] && (
        <span class="ranks">
          {methods.map((method) => {
            const rank = first[method][query];
            const label = data.index.methods[method].label;
            const said = rank < 0 ? "not ranked" : rank === 0 ? "no gold found" : `first gold at rank ${count(rank)}`;
            return (
              <span class={`box ${rank === 1 ? "top" : rank > 1 && rank <= 10 ? "near" : ""}`} role="img" title={`${label}: ${said}`} aria-label={`${label}: ${said}`}>
                {rank < 0 ? "·" : rank === 0 ? "–" : rank > 99 ? "99+" : rank}
              </span>
            );
          })}
        </span>
      )}
    </div>
  );
}
