// What is seen, as JSON lines in the documented form (docs/page.md) or as a table.
import type { Data, Line } from "./data";
import { MARKS, scoresOf, type End } from "./cards";

const ENDS: [End, "proponents" | "opponents"][] = [["p", "proponents"], ["o", "opponents"]];

export function fieldsOf(data: Data, query: number): [string, string][] {
  return data.index.queries.fields.flatMap((field): [string, string][] => (field.codes[query] < 0 ? [] : [[field.name, field.values[field.codes[query]]]]));
}

// A results file of one query: a line of methods, a line for each passage, a line for the query.
export function results(data: Data, query: number, lines: (Line | null)[], methods: number[]): string {
  const { id, prompt, target, exact, answer, probability } = data.index.queries;
  const passages = new Map<number, object>();
  const rankings: [string, object][] = [];
  for (const method of methods) {
    const line = lines[method];
    if (!line) continue;
    const ends = ENDS.map(([end, name]) => {
      const scores = scoresOf(line, end);
      return [name, line[end].map((place, i) => {
        const passage = data.passageNow(place);
        passages.set(place, { id: passage?.id, text: passage?.text ?? null, fields: Object.fromEntries(passage?.fields ?? []) });
        const mark = (end === "p" ? line.m : line.om)[i];
        return { id: passage?.id, ...(scores[i] === null ? {} : { score: scores[i] }), ...(mark === "3" ? {} : { correct: mark === "1" }) };
      })];
    });
    rankings.push([data.index.methods[method].name, Object.fromEntries(ends)]);
  }
  const asked = {
    id: id[query], prompt: prompt[query], target: target[query],
    ...(exact[query] === null ? {} : { answered_exactly: exact[query] }),
    ...(answer?.[query] == null ? {} : { answer: answer[query] }),
    ...(probability?.[query] == null ? {} : { probability: probability[query] }),
    fields: Object.fromEntries(fieldsOf(data, query)),
  };
  const head = { format: "jax_tda.results", version: 1, methods: methods.map((method) => data.index.methods[method]) };
  const all = [head, ...[...passages.values()].map((passage) => ({ passage })), { query: asked, rankings: Object.fromEntries(rankings) }];
  return all.map((line) => JSON.stringify(line)).join("\n") + "\n";
}

// A cell that a spreadsheet would take for a formula begins with an apostrophe.
function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(String(value)) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const table = (rows: unknown[][]): string => rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

export function rankingTable(data: Data, query: number, lines: (Line | null)[], methods: number[]): string {
  const { id, prompt, target } = data.index.queries;
  const rows: unknown[][] = [["query", "prompt", "target", "method", "end", "rank", "passage", "score", "relevance", "text"]];
  for (const method of methods) {
    const line = lines[method];
    for (const [end, name] of line ? ENDS : []) {
      line![end].forEach((place, i) => {
        const passage = data.passageNow(place);
        const mark = (end === "p" ? line!.m : line!.om)[i];
        rows.push([id[query], prompt[query], target[query], data.index.methods[method].name, name, i + 1, passage?.id, scoresOf(line!, end)[i], MARKS[mark][2], passage?.text]);
      });
    }
  }
  return table(rows);
}

export function listRows(data: Data, matches: Iterable<number>, methods: number[]): Record<string, unknown>[] {
  const { id, prompt, target, exact, answer, probability, fields, first } = data.index.queries;
  return [...matches].map((query) => ({
    query: id[query], prompt: prompt[query], target: target[query], answered_exactly: exact[query],
    answer: answer?.[query] ?? null, probability: probability?.[query] ?? null,
    ...Object.fromEntries(fields.map((field) => [field.name, field.codes[query] < 0 ? null : field.values[field.codes[query]]])),
    ...Object.fromEntries(methods.map((method) => [`first gold, ${data.index.methods[method].name}`, first[method][query] > 0 ? first[method][query] : null])),
  }));
}

export function save(name: string, text: string, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name.replace(/[^\p{L}\p{N}._-]+/gu, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
