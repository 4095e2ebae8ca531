// One query: what was asked, what the model says, and the passages that each method gives.
import { useEffect, useMemo, useState } from "preact/hooks";
import { MARKS, Columns } from "./cards";
import { Scores } from "./chart";
import type { Data, Line } from "./data";
import { Fields, Marked, Menu } from "./elements";
import { keywords, learn, learned } from "./keywords";
import { count, percent } from "./numbers";
import { Shaded } from "./shades";
import { fieldsOf, rankingTable, results, save } from "./output";
import type { State } from "./state";
import { sought, type Kind, type Sought } from "./words";

const passagesOf = (lines: (Line | null)[], methods: number[]): number[] =>
  methods.flatMap((method) => { const line = lines[method]; return line ? [...line.p, ...line.o] : []; });

// The rankings of a query, at once where they are loaded, else when they are.
function useLines(data: Data, query: number, methods: number[], fail: (error: unknown) => void): (Line | null)[] | null {
  const [, again] = useState(0);
  const lines = data.linesNow(query);
  // Whether all is here: what was here may have been let go since, and is read again then.
  const whole = lines !== undefined && passagesOf(lines, methods).every((place) => data.passageNow(place));
  useEffect(() => {
    let wanted = true;
    const load = async () => {
      const lines = await data.lines(query);
      if (wanted) again((turn) => turn + 1);
      await Promise.all([data.load(passagesOf(lines, methods)), learn(data)]);
    };
    if (whole && learned()) return;
    const loading = whole ? learn(data) : load();
    loading.then(() => wanted && again((turn) => turn + 1), fail);
    return () => { wanted = false; };
  }, [data, query, methods, whole]);
  return lines ?? null;
}

export function Query(props: { data: Data; state: State; next: number; last: number; change: (change: Partial<State>) => void; fail: (error: unknown) => void }) {
  const { data, state, change } = props;
  const { query, methods } = state;
  const { id, prompt, target, exact, judged, answer, probability, first, returned } = data.index.queries;
  const lines = useLines(data, query, methods, props.fail);
  const kinds = useMemo((): [Kind, Sought][] => [
    ["target", sought(target[query])],
    ["prompt", sought(prompt[query])],
    ["search", sought(state.passages ? state.search : "")],
  ], [query, state.search, state.passages]);
  const heard = lines !== null && learned() && methods.every((method) => lines[method]?.p.every((place) => data.passageNow(place)) ?? true);
  const common = useMemo(
    () => Object.fromEntries(heard ? methods.map((method) => [method, lines![method] ? keywords(data, lines![method]!) : []]) : []),
    [lines !== null, query, methods, heard],
  );
  // Of the first method that tells what each word of the target gives of its scores.
  const shares = methods.map((method) => lines?.[method]?.shares).find((own) => own?.length);
  const begin = prompt[query].length + target[query].length - target[query].trimStart().length;
  const shaded = shares !== undefined || methods.some((method) => lines?.[method]?.p_shares);
  const go = (to: number) => () => change({ query: to });

  const head = (method: number) => {
    const said = data.index.methods[method];
    const rank = first[method][query];
    const line = lines?.[method] ?? null;
    const standing = !judged[query] || rank < 0 ? "" : rank ? `first gold at rank ${count(rank)}` : `no gold among ${count(returned[method][query])}`;
    const words = common[method] ?? [];
    return (
      <header>
        <h3>{said.label}{standing && <span class={`standing ${rank === 1 ? "top" : ""}`}>{standing}</span>}</h3>
        {line && <Scores line={line} />}
        <p class="meaning"><span>Score{said.unit && `, ${said.unit}`}:</span> {said.score || "larger is more influence; its ranking does not say what it measures"}</p>
        {words.length > 0 && (
          <p class="keywords"><span>Words in common:</span> {words.map(([word, passages]: [string, number]) => (
            <span class="keyword" title={`in ${passages} of the ${line!.p.length} proponents`}><Marked text={word} kinds={kinds} /><sub>{passages}</sub></span>
          ))}</p>
        )}
      </header>
    );
  };

  return (
    <article id="query" tabIndex={-1} aria-labelledby="asked">
      <div class="tools">
        <button type="button" class="back" onClick={() => change({ open: false })}>← List</button>
        <button type="button" aria-label="Previous query" title="Previous (k)" disabled={props.last < 0} onClick={go(props.last)}>↑</button>
        <button type="button" aria-label="Next query" title="Next (j)" disabled={props.next < 0} onClick={go(props.next)}>↓</button>
        <code class="id">{id[query]}</code>
        <span class="space" />
        <Compare data={data} state={state} change={change} />
        {lines && <Save data={data} query={query} lines={lines} methods={methods} />}
      </div>
      <h2 id="asked" dir="auto">{prompt[query]}{target[query].slice(0, -target[query].trimStart().length)}<mark class="target">
        {shares ? <Shaded text={prompt[query] + target[query]} from={begin} kinds={[]} shares={shares} /> : target[query].trimStart()}
      </mark></h2>
      <p class="chips">
        {exact[query] !== null && <span class={`chip ${exact[query] ? "yes" : "no"}`}>{exact[query] ? "✓ answered exactly" : "✗ not answered exactly"}</span>}
        {answer?.[query] != null && !exact[query] && <span class="chip">the model says “<b dir="auto">{answer[query]!.trim()}</b>”</span>}
        {probability?.[query] != null && <span class="chip">probability of the target <b>{percent(probability[query]!)}</b></span>}
        {!judged[query] && <span class="chip">no gold: relevance is not known</span>}
      </p>
      <Fields fields={fieldsOf(data, query)} />
      {lines ? (
        <>
          <Columns data={data} lines={lines} methods={methods} end="p" kinds={kinds} head={head} />
          <section class="opponents">
            <h3><button type="button" aria-expanded={state.opponents} onClick={() => change({ opponents: !state.opponents })}>
              Opponents<small>the lowest scores, lowest first</small></button></h3>
            {state.opponents && (
              <Columns data={data} lines={lines} methods={methods} end="o" kinds={kinds} head={(method) => <h4>{data.index.methods[method].label}</h4>} />
            )}
          </section>
          <Key shaded={shaded} />
        </>
      ) : <p class="empty" role="status">Loading…</p>}
    </article>
  );
}

function Key(props: { shaded: boolean }) {
  return (
    <p class="key">
      {Object.values(MARKS).filter(([, sign]) => sign).map(([kind, sign, , meaning]) => <span class={kind}><b class="mark-of">{sign}</b> {meaning}</span>)}
      <span><mark class="target">word</mark> of the target</span>
      <span><mark class="prompt">word</mark> of the prompt</span>
      {props.shaded && <span><span class="shade adds level-3">word</span> adds to the exact score, <span class="shade takes level-3">word</span> takes from it</span>}
    </p>
  );
}

function Compare(props: { data: Data; state: State; change: (change: Partial<State>) => void }) {
  const { data, state, change } = props;
  const names = state.methods.map((method) => data.index.methods[method].label);
  const toggle = (method: number) => {
    const kept = state.methods.filter((one) => one !== method);
    if (kept.length === state.methods.length) kept.push(method);
    if (kept.length) change({ methods: kept });
  };
  return (
    <Menu label={<>Methods <b class="badge">{names.length}</b></>} class="compare" more={` side by side: ${names.join(", ")}`}>
      <fieldset>
        <legend>Methods side by side</legend>
        {data.index.methods.map((method, place) => (
          <label class="check">
            <input type="checkbox" checked={state.methods.includes(place)} onChange={(event) => {
              toggle(place);
              if (state.methods.length === 1 && state.methods[0] === place) event.currentTarget.checked = true; // at least one stays
            }} />
            <span>{method.label}<small>{method.about}</small></span>
          </label>
        ))}
      </fieldset>
    </Menu>
  );
}

function Save(props: { data: Data; query: number; lines: (Line | null)[]; methods: number[] }) {
  const { data, query, lines, methods } = props;
  const [said, say] = useState("");
  const name = data.index.queries.id[query];
  const json = () => results(data, query, lines, methods);
  const csv = () => rankingTable(data, query, lines, methods);
  const copy = (what: string, text: () => string) => () => {
    navigator.clipboard.writeText(text()).then(() => say(`${what} copied`), () => say("the browser does not let this page copy"));
  };
  return (
    <Menu label="Save" more=" or copy what is seen" class="save">
      <button type="button" onClick={copy("Link", () => location.href)}>Copy link to this view</button>
      <button type="button" onClick={copy("JSON", json)}>Copy as JSON</button>
      <button type="button" onClick={copy("Table", csv)}>Copy as CSV</button>
      <button type="button" onClick={() => save(`${name}.jsonl`, json(), "application/jsonl")}>Download JSON lines</button>
      <button type="button" onClick={() => save(`${name}.csv`, csv(), "text/csv")}>Download CSV</button>
      <p role="status">{said}</p>
    </Menu>
  );
}
