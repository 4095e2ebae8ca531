"use strict";
// The list of queries and the passages of each method. Text from the data enters the page as text nodes only.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const STEP = 200; // list entries added at a time
  const FAR = 1e6; // the rank of a correct passage that was not returned
  const MARKS = [
    ["other", "✗", "not gold"],
    ["gold", "✓", "gold"],
    ["weak", "◐", "weak: may state the fact, but was not made from it"],
  ];
  // Words too common to be worth a highlight.
  const COMMON = new Set(
    ("a an and are as at be but by for if in into is it its of on or that the their then there these they this to " +
      "was were which with what who").split(" "),
  );
  const WORD = /[\p{L}\p{N}\p{M}]+/gu;

  const byId = (id) => document.getElementById(id);
  const places = new Map(data.queries.map((query, place) => [query.id, place]));
  const folded = data.queries.map((query) => `${query.prompt}${query.target}\n${query.id}`.toLowerCase());
  const opening = Math.max(0, data.queries.findIndex((query) => query.exact && query.judged));
  const state = { query: opening, columns: data.columns.slice(), opponents: false, listed: STEP };
  let matches = [];

  // Elements: attributes as an object, children as nodes or strings.
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function wordsOf(text) {
    return new Set((text.toLowerCase().match(WORD) || []).filter((word) => !COMMON.has(word)));
  }

  // The text with the words of the target and of the prompt marked.
  function highlighted(text, query) {
    const target = wordsOf(query.target);
    const prompt = wordsOf(query.prompt);
    const parts = [];
    let end = 0;
    for (const match of text.matchAll(WORD)) {
      const word = match[0].toLowerCase();
      const kind = target.has(word) ? "target" : prompt.has(word) ? "prompt" : null;
      if (kind === null) continue;
      parts.push(text.slice(end, match.index), make("mark", { class: kind }, match[0]));
      end = match.index + match[0].length;
    }
    parts.push(text.slice(end));
    return parts;
  }

  function fieldList(fields) {
    if (!fields.length) return null;
    const list = make("dl", { class: "fields" });
    for (const [name, value] of fields) list.append(make("div", {}, make("dt", {}, name), make("dd", { dir: "auto" }, value)));
    return list;
  }

  function card(entry, rank, query) {
    const [place, score, mark] = entry;
    const passage = data.passages[place];
    const [kind, sign, meaning] = mark === null ? ["unjudged", "·", "the query has no gold"] : MARKS[mark];
    const head = make(
      "div",
      { class: "card-head" },
      make("span", { class: "rank" }, String(rank)),
      make("span", { class: "mark", title: meaning }, `${sign} ${kind === "unjudged" ? "no gold" : kind}`),
      make("span", { class: "score" }, score.toFixed(4).replace("-", "−")),
    );
    const text = make("p", { class: "text", dir: "auto" });
    if (passage.text === null) text.append(make("em", {}, "The text of this passage was not given."));
    else text.append(...highlighted(passage.text, query));
    if (passage.cut) text.append(make("em", {}, ` … ${passage.cut.toLocaleString("en")} more characters`));
    const more = fieldList(passage.fields);
    const foot = make("details", { class: "about" }, make("summary", {}, passage.id));
    if (more) foot.append(more);
    return make("li", { class: `card ${kind}`, "data-passage": String(place) }, head, text, more ? foot : make("div", { class: "about" }, passage.id));
  }

  // What the head of a column says about where the first correct passage stands.
  function standing(ranking, query) {
    if (ranking === null) return "not ranked by this method";
    if (!query.judged) return "the query has no gold";
    const [first, returned] = ranking;
    return first ? `first gold at rank ${first}` : `no gold among ${returned.toLocaleString("en")} returned`;
  }

  function columns(query, part, empty) {
    const grid = make("div", { class: `columns of-${Math.min(state.columns.length, 5)}`, tabindex: "0", role: "group", "aria-label": "Methods side by side" });
    for (const method of state.columns) {
      const ranking = query.rankings[method];
      const head = make("h4", {}, data.methods[method].label);
      if (part === 2) head.append(make("small", {}, standing(ranking, query)));
      const entries = ranking === null ? [] : ranking[part];
      const list = make("ol", {}, ...entries.map((entry, index) => card(entry, index + 1, query)));
      grid.append(make("section", {}, head, entries.length ? list : make("p", { class: "empty" }, empty)));
    }
    return grid;
  }

  function showQuery() {
    const view = byId("query");
    const query = data.queries[state.query];
    if (!query) {
      view.replaceChildren(make("p", { class: "empty" }, "No query to show."));
      return;
    }
    const exact = query.exact === null ? null : make("span", { class: query.exact ? "chip yes" : "chip no" }, query.exact ? "✓ answered exactly" : "✗ not answered exactly");
    const facet = query.facet === null ? null : make("span", { class: "chip" }, `${data.facet}: ${query.facet}`);
    const opponents = make("details", { class: "opponents" }, make("summary", {}, "Opponents: the lowest scores, lowest first"), columns(query, 3, "None."));
    opponents.open = state.opponents;
    opponents.addEventListener("toggle", () => { state.opponents = opponents.open; });
    view.replaceChildren(
      make("p", { class: "chips" }, make("code", {}, query.id), exact, facet),
      make("h3", { dir: "auto" }, make("span", { class: "prompt" }, query.prompt), make("mark", { class: "target" }, query.target)),
      ...[fieldList(query.fields)].filter(Boolean),
      columns(query, 2, "None."),
      opponents,
    );
  }

  function first(query, column) {
    const ranking = query.rankings[state.columns[column]];
    return ranking ? ranking[0] || FAR : FAR;
  }

  // Queries in the order chosen; ties keep the order of the file.
  function sorted(chosen) {
    const order = byId("sort").value;
    if (!order) return chosen;
    const gap = (query) => (state.columns.length > 1 ? 1 / first(query, 0) - 1 / first(query, 1) : 0);
    const value = { worst: (query) => -first(query, 0), gap: (query) => -gap(query), behind: gap }[order];
    const judged = chosen.filter((place) => data.queries[place].judged);
    return judged.sort((a, b) => value(data.queries[a]) - value(data.queries[b]) || a - b);
  }

  function filter() {
    const words = byId("search").value.toLowerCase();
    const exact = byId("exact").value;
    const facet = byId("facet").value;
    const chosen = [];
    data.queries.forEach((query, place) => {
      if (words && !folded[place].includes(words)) return;
      if (exact && (query.exact === true) !== (exact === "yes")) return;
      if (facet && query.facet !== facet) return;
      chosen.push(place);
    });
    matches = sorted(chosen);
    state.listed = STEP;
    showList();
  }

  function showList() {
    const list = byId("list");
    list.replaceChildren(...matches.slice(0, state.listed).map(entryOf));
    const cut = data.queries.length < data.total ? ` on this page, of ${data.total.toLocaleString("en")} in the run` : "";
    byId("count").textContent = `${matches.length.toLocaleString("en")} of ${data.queries.length.toLocaleString("en")} queries${cut}`;
    byId("more").hidden = matches.length <= state.listed;
  }

  function entryOf(place) {
    const query = data.queries[place];
    const link = make("a", { href: `#${hash(query)}` }, make("span", { class: "prompt", dir: "auto" }, query.prompt), make("b", {}, query.target));
    const ranks = make("span", { class: "ranks" });
    for (const method of query.judged ? state.columns : []) {
      const ranking = query.rankings[method];
      const rank = ranking ? ranking[0] : 0;
      const kind = rank === 1 ? "top" : rank && rank <= 10 ? "near" : "far";
      const text = rank ? (rank > 99 ? "99+" : String(rank)) : "–";
      ranks.append(make("i", { class: kind, title: `${data.methods[method].label}: ${standing(ranking, query)}` }, text));
    }
    link.append(ranks);
    const item = make("li", query.exact === false ? { class: "inexact" } : {}, link);
    if (place === state.query) link.setAttribute("aria-current", "true");
    return item;
  }

  // The address of a query as it is shown now.
  function hash(query) {
    const names = state.columns.map((method) => data.methods[method].name);
    return new URLSearchParams({ query: query ? query.id : "", methods: names.join(",") }).toString();
  }

  function readHash() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    if (places.has(parameters.get("query"))) state.query = places.get(parameters.get("query"));
    const wanted = (parameters.get("methods") || "").split(",");
    const found = wanted.map((name) => data.methods.findIndex((method) => method.name === name)).filter((method) => method >= 0);
    if (found.length) state.columns = [...new Set(found)];
  }

  function writeHash() {
    history.replaceState(null, "", `#${hash(data.queries[state.query])}`);
  }

  function showMethods() {
    const box = byId("methods");
    box.replaceChildren(box.firstElementChild);
    data.methods.forEach((method, place) => {
      const input = make("input", { type: "checkbox" });
      input.checked = state.columns.includes(place);
      input.addEventListener("change", () => {
        const kept = state.columns.filter((column) => column !== place);
        if (input.checked) kept.push(place);
        if (kept.length) state.columns = kept;
        else input.checked = true; // at least one column
        writeHash();
        filter();
        showQuery();
      });
      box.append(make("label", {}, input, method.label));
    });
  }

  function show() {
    readHash();
    showMethods();
    if (!matches.length) filter();
    state.listed = Math.max(state.listed, matches.indexOf(state.query) + 1);
    showList();
    showQuery();
    showCurrent();
  }

  // Scrolls the list, and only the list, to the query shown.
  function showCurrent() {
    const list = byId("list");
    const current = list.querySelector("[aria-current]");
    if (!current) return;
    const frame = list.getBoundingClientRect();
    const place = current.getBoundingClientRect();
    if (place.top < frame.top || place.bottom > frame.bottom) list.scrollTop += place.top - frame.top - frame.height / 3;
  }

  // Up and down in the list with j and k, unless somebody is typing.
  function step(event) {
    const move = { j: 1, k: -1 }[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const next = matches[matches.indexOf(state.query) + move];
    if (next === undefined) return;
    state.query = next;
    writeHash();
    show();
  }

  function sameText(event) {
    const over = event.target.closest && event.target.closest("[data-passage]");
    for (const other of document.querySelectorAll("[data-passage].same")) other.classList.remove("same");
    if (!over) return;
    const twins = document.querySelectorAll(`[data-passage="${Number(over.dataset.passage)}"]`);
    if (twins.length > 1) for (const twin of twins) twin.classList.add("same");
  }

  function switchTables() {
    const buttons = [...document.querySelectorAll("[data-view]")];
    const choose = (view) => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.view === view));
      for (const table of document.querySelectorAll("[data-table]")) table.hidden = table.dataset.table !== view;
    };
    for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.view));
    if (buttons.length) choose(buttons[0].dataset.view);
  }

  const facets = [...new Set(data.queries.map((query) => query.facet).filter((facet) => facet !== null))].sort();
  byId("facet-label").hidden = !facets.length;
  byId("facet-label").firstElementChild.textContent = data.facet;
  byId("facet").append(...facets.map((facet) => make("option", { value: facet }, facet)));
  for (const id of ["search", "exact", "facet", "sort"]) byId(id).addEventListener("input", filter);
  byId("more").addEventListener("click", () => { state.listed += STEP; showList(); });
  byId("query").addEventListener("mouseover", sameText);
  addEventListener("hashchange", show);
  addEventListener("keydown", step);
  document.querySelector(".explorer").hidden = false;
  const shared = location.hash.startsWith("#query=");
  switchTables();
  show();
  if (shared) byId("explorer").scrollIntoView();
})();
