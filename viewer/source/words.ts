// Words of any script, folded for comparison, and where the words of one text stand in another.

const WORD = /[\p{L}\p{N}\p{M}]+/gu;
// Scripts that put no spaces between words.
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const ASCII = /^[\x00-\x7f]*$/;
// Words too common to be worth a highlight.
const COMMON = new Set(
  ("a an and are as at be been but by for from had has have he her his i if in into is it its no not of on or she that " +
    "the their them then there these they this to was we were which will with what who you your " +
    "của và là der die das und ist ein eine le la les des du et est un une el los las y es una de en").split(" "),
);

// Lower case, without accents of Latin, Greek and Cyrillic letters; other scripts keep their marks, which are vowels.
export function fold(text: string): string {
  if (ASCII.test(text)) return text.toLowerCase();
  return text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").normalize("NFC").toLowerCase();
}

export function wordsOf(text: string): string[] {
  return fold(text).match(WORD) ?? [];
}

export function isCommon(word: string): boolean {
  return COMMON.has(word);
}

export function isUnspaced(word: string): boolean {
  return UNSPACED.test(word);
}

// What to look for in other texts: words, and pieces of runs without spaces.
export interface Sought { words: Set<string>; pieces: string[]; all: Set<string> }

export function sought(text: string): Sought {
  const words = new Set<string>();
  const pieces = new Set<string>();
  const all = wordsOf(text);
  for (const word of all) {
    if (!UNSPACED.test(word)) {
      if (!COMMON.has(word)) words.add(word);
      continue;
    }
    pieces.add(word);
    const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });
    for (const { segment } of segmenter.segment(word)) if (segment.length > 1) pieces.add(segment);
  }
  return { words, pieces: [...pieces].sort((a, b) => b.length - a.length), all: new Set(all) };
}

// Characters between two marks that may become one.
const BETWEEN = 16;

export type Kind = "target" | "prompt" | "search";
export interface Run { text: string; kind: Kind | null }

// The text in runs: the words of each kind of what is sought are runs of their own, the first kind that has them wins.
export function runs(text: string, kinds: [Kind, Sought][]): Run[] {
  const found: Run[] = [];
  let end = 0;
  const mark = (from: number, to: number, kind: Kind) => {
    const before = found.at(-1);
    const between = text.slice(end, from);
    // A phrase is one mark, with the small words and spaces inside it.
    if (before?.kind === kind && between.length < BETWEEN && wordsOf(between).every((word) => kinds.some(([own, of]) => own === kind && of.all.has(word)))) {
      before.text += text.slice(end, to);
    } else {
      if (between) found.push({ text: between, kind: null });
      found.push({ text: text.slice(from, to), kind });
    }
    end = to;
  };
  for (const match of text.matchAll(WORD)) {
    const word = match[0];
    const folded = fold(word);
    const whole = kinds.find(([, from]) => from.words.has(folded));
    if (whole) {
      mark(match.index, match.index + word.length, whole[0]);
    } else if (UNSPACED.test(word) && folded.length === word.length) {
      for (let at = 0; at < word.length; ) {
        const hit = kinds
          .flatMap(([kind, from]) => from.pieces.map((piece): [Kind, string] => [kind, piece]))
          .find(([, piece]) => folded.startsWith(piece, at));
        if (hit) mark(match.index + at, match.index + at + hit[1].length, hit[0]);
        at += hit ? hit[1].length : 1;
      }
    }
  }
  if (end < text.length) found.push({ text: text.slice(end), kind: null });
  return found;
}
