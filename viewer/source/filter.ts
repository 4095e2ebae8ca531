// Which queries are listed, in which order. Filters come from controls; nothing of them is ever evaluated.
import type { Data } from "./data";
import { EXACT, PROBABILITY, type State } from "./state";
import { fold } from "./words";

// The rank of a correct passage that was not returned.
const FAR = 1e6;

// A span "from..to", each end empty where it is open.
export function span(value: string): [number, number] {
  const [low, high] = value.split("..");
  return [low ? Number(low) : -Infinity, high ? Number(high) : Infinity];
}

export function filtered(data: Data, state: State, hits: Uint8Array | null): Int32Array {
  const queries = data.index.queries;
  const count = queries.id.length;
  const kept = new Uint8Array(count).fill(1);
  if (hits) kept.set(hits);
  for (const [name, value] of state.filters) {
    if (name === EXACT) {
      const wanted = value === "=yes";
      for (let i = 0; i < count; i++) if ((queries.exact[i] === true) !== wanted) kept[i] = 0;
    } else if (name === PROBABILITY) {
      const [low, high] = span(value);
      for (let i = 0; i < count; i++) {
        const p = queries.probability?.[i];
        if (p === null || p === undefined || p < low || p > high) kept[i] = 0;
      }
    } else {
      const field = queries.fields.find((one) => one.name === name);
      const allowed = field ? field.values.map(test(field.numeric, value)) : [];
      for (let i = 0; i < count; i++) if (!field || field.codes[i] < 0 || !allowed[field.codes[i]]) kept[i] = 0;
    }
  }
  const found: number[] = [];
  for (let i = 0; i < count; i++) if (kept[i]) found.push(i);
  return Int32Array.from(ordered(data, state, found));
}

function test(numeric: boolean, value: string): (found: string) => boolean {
  if (value.startsWith("=")) return (found) => found === value.slice(1);
  if (numeric && value.includes("..")) {
    const [low, high] = span(value);
    return (found) => Number(found) >= low && Number(found) <= high;
  }
  const part = fold(value);
  return (found) => fold(found).includes(part);
}

export function ordered(data: Data, state: State, chosen: number[]): number[] {
  if (!state.order) return chosen;
  const { first, judged, probability } = data.index.queries;
  const rank = (column: number, query: number): number => {
    const own = first[state.methods[column]]?.[query] ?? 0;
    return own > 0 ? own : FAR;
  };
  const gap = (query: number): number => (state.methods.length > 1 ? 1 / rank(0, query) - 1 / rank(1, query) : 0);
  const likely = (query: number): number => probability?.[query] ?? -1;
  const value = {
    worst: (query: number) => -rank(0, query),
    gap: (query: number) => -gap(query),
    behind: gap,
    probable: (query: number) => -likely(query),
    improbable: likely,
  }[state.order];
  const given = state.order.endsWith("probable") ? chosen.filter((query) => likely(query) >= 0) : chosen.filter((query) => judged[query]);
  return given.sort((a, b) => value(a) - value(b) || a - b);
}

// Means of a method over queries that can be judged, with 1.96 standard errors.
export interface Mean { mean: number; error: number; n: number }
export const METRICS: [string, (first: number, right: number) => number][] = [
  ["MRR", (first) => (first > 0 ? 1 / first : 0)],
  ["recall@10", (first) => (first > 0 && first <= 10 ? 1 : 0)],
  ["precision@10", (_, right) => right / 10],
];

export function mean(data: Data, method: number, metric: number, queries: ArrayLike<number>): Mean {
  const judged = data.index.queries.judged;
  const first = data.index.queries.first[method];
  const right = data.index.queries.right[method];
  const of = METRICS[metric][1];
  let n = 0;
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < queries.length; i++) {
    const query = queries[i];
    if (!judged[query] || first[query] < 0) continue;
    const value = of(first[query], right[query]);
    n++;
    sum += value;
    squares += value * value;
  }
  const average = n ? sum / n : 0;
  const variance = n > 1 ? Math.max(0, (squares - n * average * average) / (n - 1)) : 0;
  return { mean: average, error: n > 1 ? 1.96 * Math.sqrt(variance / n) : NaN, n };
}
