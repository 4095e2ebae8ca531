// Search over queries: words in any order, also parts of words; a word that stands nowhere is read as its nearest ones.
import type { Data } from "./data";
import { fold, wordsOf } from "./words";

// Whether two words are at most `most` slips apart: a letter more, less, other, or two exchanged.
export function near(a: string, b: string, most: number): boolean {
  if (Math.abs(a.length - b.length) > most) return false;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      let cost = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2] + 1);
      row.push(cost);
      least = Math.min(least, cost);
    }
    if (least > most) return false;
    before = last;
    last = row;
  }
  return last[b.length] <= most;
}

export function slips(word: string): number {
  return word.length < 4 ? 0 : word.length < 8 ? 1 : 2;
}

// The words of a vocabulary that a word may have been meant for.
export function meant(word: string, vocabulary: Iterable<string>): string[] {
  const most = slips(word);
  const found: string[] = [];
  if (most) for (const known of vocabulary) if (near(word, known, most)) found.push(known);
  return found;
}

// A term is any of these texts; a text matches where each term is found.
export type Term = string[];
export const holds = (text: string, terms: Term[]): boolean => terms.every((term) => term.some((one) => text.includes(one)));

export class Search {
  private folded: string[];
  private vocabulary: Set<string> | null = null;

  constructor(private data: Data) {
    const { id, prompt, target, answer } = data.index.queries;
    this.folded = id.map((name, i) => fold(`${prompt[i]}${target[i]}\n${name}\n${answer?.[i] ?? ""}`));
  }

  terms(asked: string): string[] {
    return fold(asked).split(/\s+/).filter(Boolean);
  }

  // Queries whose own words hold every term; `read` says which words were read as which others.
  inQueries(asked: string): { hits: Uint8Array; read: Map<string, string[]> } {
    const hits = new Uint8Array(this.folded.length).fill(1);
    const read = new Map<string, string[]>();
    for (const word of this.terms(asked)) {
      let term: Term = [word];
      if (!this.folded.some((text) => text.includes(word))) {
        this.vocabulary ??= new Set(this.folded.flatMap(wordsOf));
        const others = meant(word, this.vocabulary);
        if (others.length) {
          term = others;
          read.set(word, others);
        }
      }
      this.folded.forEach((text, i) => { if (hits[i] && !term.some((one) => text.includes(one))) hits[i] = 0; });
    }
    return { hits, read };
  }

  // Queries that list a passage with every term; `tell` hears of each share of the work, `stopped` ends it.
  async inPassages(asked: string, tell: (share: number) => void, stopped: () => boolean): Promise<{ hits: Uint8Array; read: Map<string, string[]> }> {
    const read = new Map<string, string[]>();
    const words = this.terms(asked);
    let scanned = await this.scan(words.map((word) => [word]), tell, stopped);
    if (!scanned.found.size && !stopped()) {
      const vocabulary = new Set<string>();
      const unknown = words.filter((_, i) => !scanned.seen[i]);
      if (unknown.some(slips)) {
        for await (const { texts } of this.data.allTexts()) {
          if (stopped()) break;
          for (const text of texts) if (text) for (const word of wordsOf(text)) vocabulary.add(word);
        }
        for (const word of unknown) {
          const others = meant(word, vocabulary);
          if (others.length) read.set(word, others);
        }
        if (read.size) scanned = await this.scan(words.map((word) => read.get(word) ?? [word]), tell, stopped);
      }
    }
    const hits = new Uint8Array(this.folded.length);
    if (scanned.found.size) {
      for await (const { start, lines } of this.data.allLines()) {
        if (stopped()) break;
        for (const own of lines) {
          own.forEach((line, i) => {
            if (line && (line.p.some((p) => scanned.found.has(p)) || line.o.some((p) => scanned.found.has(p)))) hits[start + i] = 1;
          });
        }
      }
    }
    return { hits, read };
  }

  private async scan(terms: Term[], tell: (share: number) => void, stopped: () => boolean) {
    const found = new Set<number>();
    const seen = terms.map(() => false);
    for await (const { start, texts, share } of this.data.allTexts()) {
      if (stopped()) break;
      texts.forEach((text, i) => {
        if (!text) return;
        const folded = fold(text);
        let all = true;
        terms.forEach((term, t) => {
          if (term.some((one) => folded.includes(one))) seen[t] = true;
          else all = false;
        });
        if (all) found.add(start + i);
      });
      tell(share);
    }
    return { found, seen };
  }
}
