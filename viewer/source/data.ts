// The page's data: parts of deflated JSON, held in the page itself or in script files beside it, loaded when needed.

export interface Method { name: string; label: string; about: string; score: string; unit: string }
export interface Field { name: string; numeric: boolean; values: string[]; codes: number[] }
export interface Interval { mean: number; low: number | null; high: number | null; n: number }
export interface Table {
  label?: string; caption: string; metrics: [string, string][];
  rows: { label: string; about: string; step: boolean; chosen: boolean; cells: (Interval | null)[] }[];
}
export interface Overview {
  figures: [string, string][]; views: Table[]; differences: Table | null; notes: [string, string][];
}
export interface Index {
  version: number; title: string; total: number; queries_per_part: number; text_starts: number[]; passages: number;
  methods: Method[]; columns: number[]; overview: Overview | null; kinds: [number, number, number][];
  queries: {
    id: string[]; prompt: string[]; target: string[]; judged: boolean[]; exact: (boolean | null)[];
    answer: (string | null)[] | null; probability: (number | null)[] | null; fields: Field[];
    first: number[][]; right: number[][]; returned: number[][];
  };
}
// A share of a score: from, to (characters of the text), share.
export type Share = [number, number, number];
export interface Line {
  p: number[]; s?: (number | null)[]; m: string; p_note?: (string | null)[]; p_shares?: (Share[] | null)[];
  o: number[]; os?: (number | null)[]; om: string; o_note?: (string | null)[]; o_shares?: (Share[] | null)[];
  tied?: number | null; histogram?: { low: number; high: number; counts: number[] }; shares?: Share[];
}
export interface Passage { id: string; text: string | null; cut: number; fields: [string, string][] }
// The lines of some queries by one method, in columns, as jax_tda/viewer/rankings.py writes them.
interface Columns {
  p: (number[] | null)[]; s: (number[] | null)[]; m: string[]; o: (number[] | null)[]; os: (number[] | null)[]; om: string[];
  more: Record<string, Partial<Line>>;
}
interface Texts { id: string[]; text: (string | null)[]; cut: number[]; fields: Record<string, (string | null)[]> }
export type Hub = [passage: number, count: number, right: number, queries: number[]];

const waiting = new Map<string, (text: string) => void>();
// Script files call this with the name of their part and its text.
(globalThis as unknown as Record<string, unknown>).jaxTdaPart = (name: string, text: string) => {
  waiting.get(name)?.(text);
  waiting.delete(name);
};

// Parts that are on their way: whoever asks meanwhile waits for the same script.
const coming = new Map<string, Promise<string>>();

function text(name: string): Promise<string> {
  const inside = document.getElementById(`part-${name}`);
  if (inside) return Promise.resolve(inside.textContent ?? "");
  const found = coming.get(name);
  if (found) return found;
  const made = fromFile(name);
  coming.set(name, made);
  const forget = () => coming.delete(name);
  made.then(forget, forget);
  return made;
}

function fromFile(name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    waiting.set(name, resolve);
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      waiting.delete(name);
      reject(new Error(`The file data/${name}.js of this page is missing. The folder "data" belongs beside index.html.`));
    };
    script.src = `data/${name}.js`;
    document.head.append(script);
  });
}

// Browsers since 2025 read base64 themselves, many times as fast.
const native = (Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }).fromBase64;

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  if (native) return native.call(Uint8Array, base64);
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function read<T>(name: string): Promise<T> {
  const bytes = bytesOf(await text(name));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return (await new Response(stream).json()) as T;
}

// Scores from decimals, the first one, and each further one's step, in units of the last decimal.
function scores(steps: number[] | null): number[] | undefined {
  if (!steps) return undefined;
  let sum = 0;
  return steps.slice(1).map((step) => (sum += step) / 10 ** steps[0]);
}

const linesOf = (own: Columns): (Line | null)[] =>
  own.p.map((p, i) => p && { p, s: scores(own.s[i]), m: own.m[i], o: own.o[i] ?? [], os: scores(own.os[i]), om: own.om[i], ...own.more[i] });

const readLines = async (part: number): Promise<(Line | null)[][]> => (await read<Columns[]>(`rankings-${part}`)).map(linesOf);

// A query of three methods may need a hundred parts of texts, and its neighbours are foreseen; 64 KB each.
const PARTS_OF_TEXT = 480;

// The least recently used parts are let go: a page of many gigabytes of text stays small in memory.
class Kept<T> {
  private held = new Map<number, Promise<T>>();
  private ready = new Map<number, T>();
  constructor(private get: (part: number) => Promise<T>, private most: number) {}

  now(part: number): T | undefined {
    return this.ready.get(part);
  }

  load(part: number): Promise<T> {
    const found = this.held.get(part);
    if (found) {
      this.held.delete(part);
      this.held.set(part, found);
      return found;
    }
    const made = this.get(part);
    made.then((value) => this.held.get(part) === made && this.ready.set(part, value), () => this.held.delete(part));
    this.held.set(part, made);
    if (this.held.size > this.most) {
      const oldest = this.held.keys().next().value as number;
      this.held.delete(oldest);
      this.ready.delete(oldest);
    }
    return made;
  }
}

export class Data {
  private rankings = new Kept(readLines, 40);
  private texts = new Kept((part) => read<Texts>(`texts-${part}`), PARTS_OF_TEXT);
  private hubsRead: Promise<Hub[][]> | null = null;
  readonly places: Map<string, number>;

  private constructor(readonly index: Index) {
    this.places = new Map(index.queries.id.map((id, place) => [id, place]));
  }

  static async open(): Promise<Data> {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("This browser is too old for this page: it has no DecompressionStream (Chrome 80, Firefox 113, Safari 16.4).");
    }
    const index = await read<Index>("index");
    if (index.version !== 1) throw new Error(`The data of this page are of version ${index.version}, which its script does not know.`);
    return new Data(index);
  }

  // The rankings of a query, by method, where they are loaded already.
  linesNow(query: number): (Line | null)[] | undefined {
    const part = this.rankings.now(Math.floor(query / this.index.queries_per_part));
    return part && part.map((own) => own[query % this.index.queries_per_part]);
  }

  async lines(query: number): Promise<(Line | null)[]> {
    const part = await this.rankings.load(Math.floor(query / this.index.queries_per_part));
    return part.map((own) => own[query % this.index.queries_per_part]);
  }

  partOf(passage: number): number {
    const starts = this.index.text_starts;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= passage) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  passageNow(passage: number): Passage | undefined {
    const part = this.partOf(passage);
    const found = this.texts.now(part);
    if (!found) return undefined;
    const at = passage - this.index.text_starts[part];
    const fields = Object.entries(found.fields).flatMap(([name, values]): [string, string][] => {
      const value = values[at];
      return value === null || value === undefined ? [] : [[name, value]];
    });
    return { id: found.id[at], text: found.text[at], cut: found.cut[at], fields };
  }

  async load(passages: Iterable<number>): Promise<void> {
    const parts = new Set<number>();
    for (const passage of passages) parts.add(this.partOf(passage));
    await Promise.all([...parts].map((part) => this.texts.load(part)));
  }

  // Rankings and texts of a query that somebody will probably look at next.
  async foresee(query: number, methods: number[]): Promise<void> {
    if (query < 0 || query >= this.index.queries.id.length) return;
    const lines = await this.lines(query);
    await this.load(methods.flatMap((method) => { const line = lines[method]; return line ? [...line.p, ...line.o] : []; }));
  }

  // Every part of texts in turn, without keeping them.
  async *allTexts(): AsyncGenerator<{ start: number; texts: (string | null)[]; share: number }> {
    const starts = this.index.text_starts;
    for (let part = 0; part < starts.length; part++) {
      const found = this.texts.now(part) ?? (await read<Texts>(`texts-${part}`));
      yield { start: starts[part], texts: found.text, share: (part + 1) / starts.length };
    }
  }

  // Every part of rankings in turn, without keeping them.
  async *allLines(): AsyncGenerator<{ start: number; lines: (Line | null)[][] }> {
    const size = this.index.queries_per_part;
    for (let start = 0; start < this.index.queries.id.length; start += size) {
      const part = start / size;
      yield { start, lines: this.rankings.now(part) ?? (await readLines(part)) };
    }
  }

  hubs(): Promise<Hub[][]> {
    return (this.hubsRead ??= read<Hub[][]>("hubs"));
  }
}
