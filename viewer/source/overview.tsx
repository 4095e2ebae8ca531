// The run as a whole: methods by metrics with intervals, differences, metrics by any field, hubs, kinds of proponents.
import { useEffect, useMemo, useState } from "preact/hooks";
import type { Data, Hub, Interval, Table } from "./data";
import { METRICS, mean } from "./filter";
import { count, fixed, percent } from "./numbers";
import type { State } from "./state";

const FEWEST = 20;

export function Overview(props: { data: Data; state: State; matches: Int32Array; change: (change: Partial<State>) => void; fail: (error: unknown) => void }) {
  const { data } = props;
  const report = data.index.overview;
  const [view, setView] = useState(0);
  return (
    <article class="overview" id="overview" tabIndex={-1}>
      {report && (
        <>
          <ul class="figures">{report.figures.map(([value, label]) => <li><b>{value}</b><span>{label}</span></li>)}</ul>
          <section>
            <h2>How well each method finds them</h2>
            <p class="lede"><b>MRR</b>, <b>recall</b> and <b>precision</b> ask whether the passages that state the fact stand at the top. <b>Tail-patch</b> asks
              whether they matter: how many percentage points the target gains after one more training step on each of the first.</p>
            {report.views.length > 1 && (
              <div class="switch" role="group" aria-label="Which queries">
                {report.views.map((one, i) => <button type="button" aria-pressed={i === view} onClick={() => setView(i)}>{one.label}</button>)}
              </div>
            )}
            <Intervals table={report.views[view]} heading="method" />
            {report.differences && <Intervals table={report.differences} heading="difference" signed />}
          </section>
        </>
      )}
      <ByField {...props} />
      <Kinds data={data} />
      <Hubs {...props} />
      {report && (
        <section>
          <h2>What the figures depend on</h2>
          <dl class="notes">{report.notes.map(([term, meaning]) => <><dt>{term}</dt><dd>{meaning}</dd></>)}</dl>
        </section>
      )}
    </article>
  );
}

// Metrics in percentage points have two digits, and their sign.
const digits = (metric: string): number => (metric === "tail_patch" ? 2 : 3);

function Intervals(props: { table: Table; heading: string; signed?: boolean }) {
  const { table, signed } = props;
  const scales = table.metrics.map((_, i) => scale(table.rows.map((row) => row.cells[i])));
  return (
    <div class="wide" tabIndex={0} role="region" aria-label={table.caption}>
      <table>
        <caption>{table.caption}</caption>
        <thead><tr><th scope="col">{props.heading}</th>{table.metrics.map(([, label]) => <th scope="col">{label}</th>)}</tr></thead>
        <tbody>
          {table.rows.map((row) => (
            <tr class={row.chosen ? "chosen" : ""}>
              <th scope="row" class={row.step ? "step" : ""}>{row.label}{row.about && <small>{row.about}</small>}</th>
              {row.cells.map((cell, i) => <Cell cell={cell} digits={digits(table.metrics[i][0])} signed={signed || table.metrics[i][0] === "tail_patch"} difference={signed} scale={scales[i]} />)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function scale(cells: (Interval | null)[]): [number, number] {
  const judged = cells.filter((cell): cell is Interval => cell !== null && cell.low !== null);
  const low = Math.min(0, ...judged.map((cell) => cell.low!));
  const high = Math.max(0, ...judged.map((cell) => cell.high!));
  return high > low ? [low, high] : [-1, 1];
}

function Cell(props: { cell: Interval | null; digits: number; signed?: boolean; difference?: boolean; scale: [number, number] }) {
  const { cell, signed } = props;
  if (!cell) return <td class="none">–</td>;
  const form = (value: number) => fixed(value, props.digits, signed);
  if (cell.low === null || cell.high === null) return <td><b>{form(cell.mean)}</b> <span>n {count(cell.n)}, too few for an interval</span></td>;
  const [low, high] = props.scale;
  const at = (value: number): string => `${(3 + (94 * (value - low)) / (high - low)).toFixed(2)}%`;
  const unclear = props.difference && cell.low <= 0 && cell.high >= 0;
  return (
    <td class={unclear ? "unclear" : ""}>
      <b>{form(cell.mean)}</b> <span class="ends">{form(cell.low)} … {form(cell.high)}</span>
      <svg class="interval" height="12" aria-hidden="true">
        <line class="track" x1="3%" x2="97%" y1="6" y2="6" />
        <line class="zero" x1={at(0)} x2={at(0)} y1="1" y2="11" />
        <line class="bar" x1={at(cell.low)} x2={at(cell.high)} y1="6" y2="6" />
        <circle cx={at(cell.mean)} cy="6" r="3.5" />
      </svg>
      <span class="n">n {count(cell.n)}</span>
    </td>
  );
}

// Metrics of the listed queries, by the values of a field.
function ByField(props: { data: Data; state: State; matches: Int32Array }) {
  const { data, state, matches } = props;
  const fields = data.index.queries.fields.filter((field) => field.values.length > 1 && field.values.length <= 60);
  const [name, setName] = useState(fields.find((field) => field.name === "relation")?.name ?? fields[0]?.name ?? "");
  const [metric, setMetric] = useState(0);
  const field = fields.find((one) => one.name === name);
  const rows = useMemo(() => {
    const groups = new Map<number, number[]>();
    if (field) for (const query of matches) {
      const code = field.codes[query];
      if (code >= 0) { const own = groups.get(code); if (own) own.push(query); else groups.set(code, [query]); }
    }
    const all: [string, ArrayLike<number>][] = [["all listed", matches], ...[...groups].map(([code, queries]): [string, number[]] => [field!.values[code], queries])];
    return all.map(([label, queries]) => ({ label, means: state.methods.map((method) => mean(data, method, metric, queries)) }));
  }, [data, field, metric, matches, state.methods]);
  if (!data.index.queries.judged.some(Boolean)) return null;
  return (
    <section>
      <h2>Where it succeeds</h2>
      <p class="lede">Over the {count(matches.length)} queries that search and filters list now, by the methods that stand side by side; ± 1.96 standard errors, none of fewer than {FEWEST} queries.</p>
      <div class="line">
        <label>Metric <select value={metric} onChange={(event) => setMetric(Number(event.currentTarget.value))}>{METRICS.map(([label], i) => <option value={i}>{label}</option>)}</select></label>
        {fields.length > 0 && <label>by <select value={name} onChange={(event) => setName(event.currentTarget.value)}>{fields.map((one) => <option value={one.name}>{one.name}</option>)}</select></label>}
      </div>
      <div class="wide" tabIndex={0} role="region" aria-label="Metrics by field">
        <table class="by">
          <thead><tr><th scope="col">{name || "queries"}</th><th scope="col">n</th>{state.methods.map((method) => <th scope="col">{data.index.methods[method].label}</th>)}</tr></thead>
          <tbody>
            {rows.map((row) => (
              <tr><th scope="row" dir="auto">{row.label}</th><td>{count(Math.max(...row.means.map((one) => one.n)))}</td>
                {row.means.map((one) => one.n ? (
                  <td><b>{fixed(one.mean, 3)}</b> {one.n >= FEWEST && <span>± {fixed(one.error, 3)}</span>}
                    <svg class="share" height="5" aria-hidden="true"><rect class="track" width="100%" height="5" rx="2" /><rect class="part" width={`${(100 * one.mean).toFixed(1)}%`} height="5" rx="2" /></svg></td>
                ) : <td class="none">–</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Kinds(props: { data: Data }) {
  const { kinds, methods } = props.data.index;
  if (!kinds.some((own) => own[1] + own[2] > 0)) return null;
  return (
    <section>
      <h2>What stands among the first ten</h2>
      <p class="lede">Of all passages at ranks 1 to 10, over the queries with gold.</p>
      <div class="wide" tabIndex={0} role="region" aria-label="Kinds of proponents">
        <table class="by">
          <thead><tr><th scope="col">method</th><th scope="col">gold</th><th scope="col">weak</th><th scope="col">other</th><th scope="col"><span class="hidden">drawn</span></th></tr></thead>
          <tbody>{methods.map((method, i) => {
            const [other, gold, weak] = kinds[i];
            const all = Math.max(1, other + gold + weak);
            return (
              <tr><th scope="row">{method.label}</th>{[gold, weak, other].map((one) => <td><b>{percent(one / all)}</b></td>)}
                <td class="drawn"><svg class="share" height="8" aria-hidden="true"><rect class="track" width="100%" height="8" rx="2" /><rect class="gold" width={`${(100 * gold) / all}%`} height="8" /><rect class="weak" x={`${(100 * gold) / all}%`} width={`${(100 * weak) / all}%`} height="8" /></svg></td></tr>
            );
          })}</tbody>
        </table>
      </div>
    </section>
  );
}

const HUBS = 12;

function Hubs(props: { data: Data; state: State; change: (change: Partial<State>) => void; fail: (error: unknown) => void }) {
  const { data, state, change } = props;
  const [hubs, setHubs] = useState<Hub[][] | null>(null);
  const [method, setMethod] = useState(state.methods[0]);
  const [whole, setWhole] = useState(false);
  const shown = hubs?.[method]?.slice(0, whole ? undefined : HUBS) ?? [];
  useEffect(() => {
    let wanted = true;
    const load = async () => {
      const found = await data.hubs();
      await data.load((found[method] ?? []).map(([place]) => place));
      if (wanted) setHubs([...found]);
    };
    load().catch(props.fail);
    return () => { wanted = false; };
  }, [data, method]);
  return (
    <section>
      <h2>Passages that serve many queries</h2>
      <p class="lede">How many queries list a passage among the proponents that this page shows. One that serves many and is right for none says more about the
        method than about the queries.</p>
      <label>Method <select value={method} onChange={(event) => setMethod(Number(event.currentTarget.value))}>{data.index.methods.map((one, i) => <option value={i}>{one.label}</option>)}</select></label>
      {shown.length ? (
        <ol class="hubs">
          {shown.map(([place, many, right, queries]) => {
            const passage = data.passageNow(place);
            return (
              <li>
                <b>{count(many)}<small> queries</small></b>
                <span class={right ? "right" : ""}>{right ? `gold for ${count(right)}` : "gold for none"}</span>
                <p dir="auto">{passage ? (passage.text ?? passage.id).slice(0, 240) : "…"}</p>
                <p class="among">{queries.slice(0, 5).map((query) => (
                  <button type="button" title={data.index.queries.prompt[query]} onClick={() => change({ view: "queries", query, open: true, methods: state.methods.includes(method) ? state.methods : [method, ...state.methods.slice(0, 2)] })}>{data.index.queries.id[query]}</button>
                ))}{many > 5 && <span> and {count(many - 5)} more</span>}</p>
              </li>
            );
          })}
        </ol>
      ) : <p class="empty">{hubs ? "No passage serves two queries." : "Loading…"}</p>}
      {!whole && (hubs?.[method]?.length ?? 0) > HUBS && <button type="button" onClick={() => setWhole(true)}>Show {hubs![method].length}</button>}
    </section>
  );
}
