// The whole page: what is looked at stands in its address, and every view follows from that.
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Controls, type Found } from "./controls";
import type { Data } from "./data";
import { Menu } from "./elements";
import { filtered } from "./filter";
import { List } from "./list";
import { listRows, save, table } from "./output";
import { Overview } from "./overview";
import { Query } from "./query";
import { Search } from "./search";
import { address, fromAddress, type State } from "./state";

const PAUSE = 250; // milliseconds without a key before passages are searched

export function App(props: { data: Data }) {
  const { data } = props;
  const [state, setState] = useState(() => fromAddress(location.hash, data));
  const [failed, setFailed] = useState("");
  const search = useMemo(() => new Search(data), [data]);
  const change = useCallback((next: Partial<State>) => setState((now) => ({ ...now, ...next })), []);
  const fail = useCallback((error: unknown) => setFailed(error instanceof Error ? error.message : String(error)), []);

  useEffect(() => {
    const moved = () => setState((now) => (address(now, data) === location.hash ? now : fromAddress(location.hash, data)));
    window.addEventListener("hashchange", moved);
    return () => window.removeEventListener("hashchange", moved);
  }, [data]);
  useEffect(() => {
    const here = address(state, data);
    let later: ReturnType<typeof setTimeout>;
    const write = () => {
      try {
        if (here !== location.hash) history.replaceState(null, "", here);
      } catch {
        later = setTimeout(write, 1000); // Safari refuses more than a hundred changes in half a minute.
      }
    };
    write();
    return () => clearTimeout(later);
  }, [state]);

  const own = useMemo(() => (state.search.trim() ? search.inQueries(state.search) : null), [state.search]);
  const [inside, setInside] = useState<{ asked: string; hits: Uint8Array; read: Map<string, string[]> } | null>(null);
  const [scanning, setScanning] = useState<number | null>(null);
  useEffect(() => {
    if (!state.passages || !state.search.trim()) {
      setScanning(null);
      return;
    }
    let stopped = false;
    const asked = state.search;
    const timer = setTimeout(() => {
      setScanning(0);
      search.inPassages(asked, (share) => stopped || setScanning(share), () => stopped)
        .then((found) => { if (!stopped) { setInside({ asked, ...found }); setScanning(null); } }, fail);
    }, PAUSE);
    return () => { stopped = true; clearTimeout(timer); };
  }, [state.passages, state.search]);

  const found = useMemo((): Found => {
    const more = state.passages && inside?.asked === state.search ? inside : null;
    // A word that stands nowhere in the queries, but in passages as it is written, was no slip.
    const exact = more && !more.read.size && more.hits.some(Boolean) && own?.read.size;
    const hits = own && (more ? (exact ? more.hits : own.hits.map((hit, i) => hit | more.hits[i])) : own.hits);
    const read = exact ? new Map() : new Map([...(own?.read ?? []), ...(more?.read ?? [])]);
    return { matches: filtered(data, state, hits), read, scanning };
  }, [own, inside, state.passages, state.filters, state.order, state.order ? state.methods : null, scanning === null]);
  const matches = found.matches;
  const shownFound = { ...found, scanning };

  // What is looked at stays as long as it is listed; else the first that is.
  const at = matches.indexOf(state.query);
  useEffect(() => {
    if (at < 0 && matches.length && (state.search.trim() || state.filters.size) && scanning === null) change({ query: matches[0] });
  }, [matches]);
  useEffect(() => {
    const idle = setTimeout(() => {
      const foresee = async () => {
        for (const step of [1, -1, 2]) if (matches[at + step] !== undefined) await data.foresee(matches[at + step], state.methods);
      };
      foresee().catch(fail);
    }, 30);
    return () => clearTimeout(idle);
  }, [state.query, matches, state.methods]);

  const next = at < 0 ? matches[0] ?? -1 : matches[at + 1] ?? -1;
  const last = at > 0 ? matches[at - 1] : -1;
  useKeys({ next, last, change });

  return (
    <div class={`page at-${state.view} ${state.open ? "opened" : ""}`}>
      <header class="bar">
        <button type="button" class="skip" onClick={() => {
          change({ open: true });
          setTimeout(() => document.querySelector<HTMLElement>(".card, #overview, #query")?.focus());
        }}>To the passages</button>
        <h1>{data.index.title}</h1>
        <nav aria-label="Views">
          <button type="button" aria-current={state.view === "queries" ? "page" : undefined} onClick={() => change({ view: "queries" })}>Queries</button>
          <button type="button" aria-current={state.view === "overview" ? "page" : undefined} onClick={() => change({ view: "overview" })}>Overview</button>
        </nav>
        <Help />
      </header>
      {failed && <p class="failed" role="alert">{failed}</p>}
      <div class="split">
        <section class="side" aria-label="Queries">
          <Controls data={data} state={state} found={shownFound} change={change} />
          <List data={data} matches={matches} query={state.query} methods={state.methods} choose={(query, open) => change(open ? { query, open, view: "queries" } : { query })} />
          <SaveList data={data} matches={matches} methods={state.methods} />
        </section>
        <main>
          {state.view === "overview" ? <Overview data={data} state={state} matches={matches} change={change} fail={fail} />
            : state.query >= 0 ? <Query data={data} state={state} next={next} last={last} change={change} fail={fail} />
            : <p class="empty">This page has no queries.</p>}
        </main>
      </div>
    </div>
  );
}

function useKeys(now: { next: number; last: number; change: (change: Partial<State>) => void }) {
  const latest = useRef(now);
  latest.current = now;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test((event.target as HTMLElement).tagName);
      if (event.key === "/" && !typing) {
        document.getElementById("search")?.focus();
        event.preventDefault();
      } else if (!typing && (event.key === "j" || event.key === "k")) {
        const to = event.key === "j" ? latest.current.next : latest.current.last;
        if (to >= 0) latest.current.change({ query: to, view: "queries" });
      }
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
}

function Help() {
  return (
    <Menu label={<span aria-hidden="true">?</span>} more="Help" class="help">
      <p>Each query asks a language model to continue a <em>prompt</em> with its <em>target</em>. Each method ranks the training passages by how much they made the
        model do so: <strong>proponents</strong> pushed it towards the target, <strong>opponents</strong> away from it.</p>
      <dl>
        <dt><kbd>/</kbd></dt><dd>search</dd>
        <dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>next and previous query, from anywhere</dd>
        <dt><kbd>↓</kbd> <kbd>↑</kbd></dt><dd>in the list, and from passage to passage</dd>
        <dt><kbd>←</kbd> <kbd>→</kbd></dt><dd>from method to method</dd>
        <dt><kbd>Esc</kbd></dt><dd>close a menu</dd>
      </dl>
      <p>Boxes in the list: the rank of the first gold passage, one box for each method shown. The address of this page holds what you see; send it with the page.</p>
      <p>Made by jax_tda. Nothing is fetched from anywhere else. Drawn with Preact (MIT).</p>
    </Menu>
  );
}

function SaveList(props: { data: Data; matches: Int32Array; methods: number[] }) {
  const rows = () => listRows(props.data, props.matches, props.methods);
  const csv = () => {
    const all = rows();
    return all.length ? table([Object.keys(all[0]), ...all.map((row) => Object.values(row))]) : "";
  };
  return (
    <p class="save-list">
      <span>Save this list:</span>
      <button type="button" onClick={() => save("queries.csv", csv(), "text/csv")}>CSV</button>
      <button type="button" onClick={() => save("queries.json", JSON.stringify(rows(), null, 1), "application/json")}>JSON</button>
    </p>
  );
}
