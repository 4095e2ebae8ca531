// Numbers as people read them: a true minus sign, four digits, thousands apart.

export const count = (value: number): string => value.toLocaleString("en");

export function score(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e5 || size < 1e-3 ? value.toExponential(2) : size >= 10 ? value.toPrecision(4) : value.toFixed(4);
  return text.replaceAll("-", "−");
}

export function fixed(value: number, digits: number, signed = false): string {
  const text = value.toFixed(digits);
  return (signed && value > 0 ? `+${text}` : text).replace("-", "−");
}

export function percent(value: number): string {
  return `${value >= 0.0995 || value === 0 ? (100 * value).toFixed(0) : (100 * value).toPrecision(2)} %`;
}
