// The words that a method's proponents have in common, and other passages have not.
import type { Data, Line } from "./data";
import { isCommon, isUnspaced, wordsOf } from "./words";

const SHOWN = 8;
export const learned = (): boolean => usual !== null;
let usual: { counts: Map<string, number>; of: number } | null = null;

function different(text: string): Set<string> {
  const found = new Set<string>();
  for (const word of wordsOf(text)) {
    if (!isUnspaced(word)) {
      if (word.length > 1 && !isCommon(word)) found.add(word);
    } else {
      for (const { segment } of new Intl.Segmenter(undefined, { granularity: "word" }).segment(word)) if (segment.length > 1) found.add(segment);
    }
  }
  return found;
}

// How usual words are, by the first part of the page's passages: the same sample for every query.
export async function learn(data: Data): Promise<void> {
  for await (const { texts } of data.allTexts()) {
    const counts = new Map<string, number>();
    for (const text of texts) for (const word of different(text ?? "")) counts.set(word, (counts.get(word) ?? 0) + 1);
    usual = { counts, of: texts.length };
    return;
  }
}

export function keywords(data: Data, line: Line): [word: string, passages: number][] {
  const counts = new Map<string, number>();
  for (const place of line.p) for (const word of different(data.passageNow(place)?.text ?? "")) counts.set(word, (counts.get(word) ?? 0) + 1);
  const rare = (word: string): number => (usual ? Math.log((usual.of + 1) / ((usual.counts.get(word) ?? 0) + 0.5)) : 1);
  return [...counts].filter(([, passages]) => passages > 1)
    .map(([word, passages]): [string, number, number] => [word, passages, passages * rare(word)])
    .sort((a, b) => b[2] - a[2] || (a[0] < b[0] ? -1 : 1))
    .slice(0, SHOWN).map(([word, passages]) => [word, passages]);
}
