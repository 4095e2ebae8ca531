// Small pieces that several views share.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { runs, type Kind, type Sought } from "./words";

// A button that opens a panel; it closes on Escape, and when the focus or a click goes elsewhere.
export function Menu(props: { label: ComponentChildren; name?: string; class?: string; children: ComponentChildren }) {
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const away = (event: Event) => {
      const own = details.current;
      if (own?.open && !own.contains(event.target as Node)) own.open = false;
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("focusin", away);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("focusin", away);
    };
  }, []);
  const escape = (event: KeyboardEvent) => {
    const own = details.current;
    if (event.key !== "Escape" || !own?.open) return;
    own.open = false;
    own.querySelector("summary")?.focus();
    event.stopPropagation();
  };
  return (
    <details ref={details} class={`menu ${props.class ?? ""}`} onKeyDown={escape}>
      <summary aria-label={props.name}>{props.label}</summary>
      <div class="panel">{props.children}</div>
    </details>
  );
}

export function Marked(props: { text: string; kinds: [Kind, Sought][] }) {
  return <>{runs(props.text, props.kinds).map((run) => (run.kind ? <mark class={run.kind}>{run.text}</mark> : run.text))}</>;
}

export function Fields(props: { fields: [string, string][]; class?: string }) {
  if (!props.fields.length) return null;
  return (
    <dl class={`fields ${props.class ?? ""}`}>
      {props.fields.map(([name, value]) => (
        <div>
          <dt>{name}</dt>
          <dd dir="auto">{value}</dd>
        </div>
      ))}
    </dl>
  );
}
