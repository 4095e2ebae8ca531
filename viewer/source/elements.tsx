// Small pieces that several views share.
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { runs, type Kind, type Sought } from "./words";

// A button that opens a panel; it closes on Escape, and when the focus or a click goes elsewhere.
export function Menu(props: { label: ComponentChildren; more?: string; class: string; children: ComponentChildren }) {
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const away = (event: Event) => {
      const own = details.current;
      const target = event.target as Node;
      // A click on a panel's text may focus what the menu stands in: that is not elsewhere.
      if (own?.open && !own.contains(target) && !target.contains(own)) own.open = false;
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
    <details ref={details} class={`menu ${props.class}`} onKeyDown={escape}>
      <summary>{props.label}{props.more && <span class="hidden">{props.more}</span>}</summary>
      <div class="panel" tabIndex={-1}>{props.children}</div>
    </details>
  );
}

export function Marked(props: { text: string; kinds: [Kind, Sought][] }) {
  const found = useMemo(() => runs(props.text, props.kinds), [props.text, props.kinds]);
  return <>{found.map((run) => (run.kind ? <mark class={run.kind}>{run.text}</mark> : run.text))}</>;
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
