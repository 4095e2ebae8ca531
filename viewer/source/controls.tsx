// Search, order and filters over the list of queries.
import { useMemo } from "preact/hooks";
import type { Data, Field } from "./data";
import { Menu } from "./elements";
import { count, fixed } from "./numbers";
import { METRICS, mean } from "./filter";
import { EXACT, ORDERS, PROBABILITY, type Order, type State } from "./state";

export interface Found { matches: Int32Array; read: Map<string, string[]>; scanning: number | null }
// A field of more different values is searched by a part of the value.
const CHOICES = 60;

export function Controls(props: { data: Data; state: State; found: Found; change: (change: Partial<State>) => void }) {
  const { data, state, found, change } = props;
  const set = (name: string, value: string) => {
    const filters = new Map(state.filters);
    if (value && value !== "..") filters.set(name, value);
    else filters.delete(name);
    change({ filters });
  };
  const queries = data.index.queries;
  const active = state.filters.size;
  const now = (name: string): string => state.filters.get(name) ?? "";
  return (
    <div class="controls">
      <label class="search">
        <span class="hidden">Search queries</span>
        <input id="search" type="search" placeholder="Search: words in any order" autocomplete="off" spellcheck={false} value={state.search}
          onInput={(event) => change({ search: event.currentTarget.value })} />
        <kbd aria-hidden="true">/</kbd>
      </label>
      <div class="line">
        <label class="check">
          <input type="checkbox" checked={state.passages} onChange={(event) => change({ passages: event.currentTarget.checked })} />
          also in passages
        </label>
        <Menu label={<>Filter{active ? <b class="badge">{active}</b> : null}</>} class="filter" more={active ? " active" : ""}>
          {queries.exact.some((is) => is !== null) && (
            <Choice name={EXACT} value={now(EXACT)} values={["yes", "no"]} set={set} />
          )}
          {queries.probability && <Span name={PROBABILITY} value={now(PROBABILITY)} set={set} step="0.01" />}
          {queries.fields.map((field) => <OneField field={field} value={now(field.name)} set={set} />)}
          {active > 0 && <button type="button" onClick={() => change({ filters: new Map() })}>Clear all filters</button>}
        </Menu>
        <label class="order">
          <span class="hidden">Order</span>
          <select id="order" value={state.order} onChange={(event) => change({ order: event.currentTarget.value as Order })}>
            {Object.entries(ORDERS).filter(([name]) => queries.probability || !name.endsWith("probable")).map(([name, label]) => (
              <option value={name}>{label}</option>
            ))}
          </select>
        </label>
      </div>
      <p class="count" role="status">{told(data, found)}</p>
      <Means data={data} state={state} matches={found.matches} />
    </div>
  );
}

function told(data: Data, found: Found): string {
  const all = data.index.queries.id.length;
  const cut = all < data.index.total ? ` on this page, of ${count(data.index.total)}` : "";
  const read = [...found.read].map(([word, others]) => `“${word}” read as ${others.slice(0, 3).map((other) => `“${other}”`).join(", ")}`);
  const scanning = found.scanning === null ? [] : [`reading passages, ${Math.floor(100 * found.scanning)} %`];
  return [`${count(found.matches.length)} of ${count(all)} queries${cut}`, ...read, ...scanning].join("; ");
}

// What the chosen methods reach on the queries that are listed.
function Means(props: { data: Data; state: State; matches: Int32Array }) {
  const { data, state, matches } = props;
  const means = useMemo(() => state.methods.map((method) => mean(data, method, 0, matches)), [data, state.methods, matches]);
  if (!means.some((one) => one.n)) return null;
  return (
    <p class="means">
      <abbr title={`${METRICS[0][0]}: mean of 1 / rank of the first gold passage, over the ${count(means[0].n)} listed queries with gold; ± 1.96 standard errors`}>MRR here</abbr>
      {means.map((one, i) => (
        <span>{data.index.methods[state.methods[i]].label} <b>{fixed(one.mean, 2)}</b>{Number.isFinite(one.error) && <small> ± {fixed(one.error, 2)}</small>}</span>
      ))}
    </p>
  );
}

type Set = (name: string, value: string) => void;

function OneField(props: { field: Field; value: string; set: Set }) {
  const { field, value, set } = props;
  if (field.numeric && field.values.length > 12) return <Span name={field.name} value={value} set={set} step="any" />;
  if (field.values.length <= CHOICES) {
    const values = field.numeric ? [...field.values].sort((a, b) => Number(a) - Number(b)) : [...field.values].sort((a, b) => a.localeCompare(b));
    return <Choice name={field.name} value={value} values={values} set={set} />;
  }
  return (
    <label>
      <span>{field.name} contains</span>
      <input type="text" value={value} onInput={(event) => set(field.name, event.currentTarget.value)} />
    </label>
  );
}

function Choice(props: { name: string; value: string; values: string[]; set: Set }) {
  return (
    <label>
      <span>{props.name}</span>
      <select value={props.value.replace(/^=/, "")} data-any={props.value === ""} onChange={(event) => {
        const at = event.currentTarget.selectedIndex;
        props.set(props.name, at ? `=${props.values[at - 1]}` : "");
      }}>
        <option value="" selected={props.value === ""}>any</option>
        {props.values.map((value) => <option value={value} selected={props.value === `=${value}`}>{value}</option>)}
      </select>
    </label>
  );
}

function Span(props: { name: string; value: string; set: Set; step: string }) {
  const [low, high] = props.value.includes("..") ? props.value.split("..") : ["", ""];
  return (
    <fieldset class="span">
      <legend>{props.name}</legend>
      <label><span class="hidden">{props.name} </span>from <input type="number" step={props.step} value={low} onInput={(event) => props.set(props.name, `${event.currentTarget.value}..${high}`)} /></label>
      <label><span class="hidden">{props.name} </span>to <input type="number" step={props.step} value={high} onInput={(event) => props.set(props.name, `${low}..${event.currentTarget.value}`)} /></label>
    </fieldset>
  );
}
