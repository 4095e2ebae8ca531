// The scores of one query by one method: a line for each shown passage, over a histogram of the corpus where there is one.
import type { Line } from "./data";
import { count, score } from "./numbers";
import { scoresOf } from "./cards";

const WIDTH = 300;
const HEIGHT = 34;

export function Scores(props: { line: Line }) {
  const { line } = props;
  const best = scoresOf(line, "p").filter((value): value is number => value !== null);
  const worst = scoresOf(line, "o").filter((value): value is number => value !== null);
  if (!best.length && !line.histogram) return null;
  const bins = line.histogram;
  const ends = [...best, ...worst, ...(bins ? [bins.low, bins.high] : []), 0];
  const low = Math.min(...ends);
  const high = Math.max(...ends);
  const at = (value: number): number => (high > low ? 3 + ((WIDTH - 6) * (value - low)) / (high - low) : WIDTH / 2);
  // Most of a corpus lies in a few bins: heights grow with the logarithm, so that a single passage is still seen.
  const most = bins ? Math.log1p(Math.max(...bins.counts)) : 1;
  const wide = bins ? (at(bins.high) - at(bins.low)) / bins.counts.length : 0;
  const total = bins ? bins.counts.reduce((sum, one) => sum + one, 0) : 0;
  const said = [
    best.length ? `${best.length} proponents from ${score(Math.min(...best))} to ${score(Math.max(...best))}` : "",
    worst.length ? `${worst.length} opponents from ${score(Math.min(...worst))} to ${score(Math.max(...worst))}` : "",
    bins ? `all ${count(total)} passages from ${score(bins.low)} to ${score(bins.high)}, heights logarithmic` : "",
  ].filter(Boolean).join("; ");
  return (
    <figure class="scores" title={said}>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`Scores: ${said}`}>
        {bins?.counts.map((one, i) => one > 0 && (
          <rect class="bin" x={at(bins.low) + i * wide} width={Math.max(0.5, wide - 0.5)} y={HEIGHT - 4 - ((HEIGHT - 6) * Math.log1p(one)) / most} height={((HEIGHT - 6) * Math.log1p(one)) / most} />
        ))}
        <line class="track" x1="0" x2={WIDTH} y1={HEIGHT - 4} y2={HEIGHT - 4} />
        <line class="zero" x1={at(0)} x2={at(0)} y1={HEIGHT - 8} y2={HEIGHT} />
        {worst.map((value) => <line class="opponent" x1={at(value)} x2={at(value)} y1="12" y2={HEIGHT - 4} />)}
        {best.map((value) => <line class="proponent" x1={at(value)} x2={at(value)} y1="6" y2={HEIGHT - 4} />)}
      </svg>
      <figcaption aria-hidden="true"><span>{score(low)}</span><span>{score(high)}</span></figcaption>
    </figure>
  );
}
