// What is looked at, and the same as the end of the page's address.
import type { Data } from "./data";

export type View = "queries" | "overview";
export const ORDERS = {
  "": "given order",
  worst: "first method worst",
  gap: "first beats second",
  behind: "second beats first",
  probable: "target most probable",
  improbable: "target least probable",
} as const;
export type Order = keyof typeof ORDERS;

export interface State {
  view: View;
  query: number; // −1: none
  methods: number[];
  search: string;
  passages: boolean; // whether passages are searched too
  order: Order;
  filters: Map<string, string>; // by field; "from..to" for numbers, "=value" for one value, else a part of it
  opponents: boolean;
  open: boolean; // on a narrow screen: whether the query, and not the list, is on it
}

export const EXACT = "answered exactly";
export const PROBABILITY = "probability of the target";

export function initial(data: Data): State {
  const { id, exact, judged } = data.index.queries;
  const query = Math.max(id.length ? 0 : -1, exact.findIndex((is, i) => is && judged[i]));
  return {
    view: "queries", query, methods: data.index.columns.slice(), search: "", passages: false, order: "", filters: new Map(),
    opponents: true, open: false,
  };
}

export function address(state: State, data: Data): string {
  const parameters = new URLSearchParams();
  if (state.view !== "queries") parameters.set("view", state.view);
  if (state.query >= 0) parameters.set("query", data.index.queries.id[state.query]);
  parameters.set("methods", state.methods.map((method) => data.index.methods[method].name).join(","));
  if (state.search) parameters.set("search", state.search);
  if (state.passages) parameters.set("passages", "1");
  if (state.order) parameters.set("order", state.order);
  if (!state.opponents) parameters.set("opponents", "0");
  for (const [name, value] of state.filters) parameters.set(`where.${name}`, value);
  return `#${parameters}`;
}

export function fromAddress(hash: string, data: Data): State {
  const state = initial(data);
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const query = parameters.get("query");
  if (query !== null && data.places.has(query)) {
    state.query = data.places.get(query)!;
    state.open = true;
  }
  const names = (parameters.get("methods") ?? "").split(",");
  const methods = names.map((name) => data.index.methods.findIndex((method) => method.name === name)).filter((place) => place >= 0);
  if (methods.length) state.methods = [...new Set(methods)];
  if (parameters.get("view") === "overview") state.view = "overview";
  state.search = parameters.get("search") ?? "";
  state.passages = parameters.get("passages") === "1";
  const order = parameters.get("order") ?? "";
  if (Object.hasOwn(ORDERS, order)) state.order = order as Order;
  state.opponents = parameters.get("opponents") !== "0";
  for (const [name, value] of parameters) if (name.startsWith("where.") && value) state.filters.set(name.slice(6), value);
  return state;
}
