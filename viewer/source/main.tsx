// Starts the page.
import { render } from "preact";
import { App } from "./app";
import { Data } from "./data";

const place = document.getElementById("app")!;
Data.open().then(
  (data) => {
    place.replaceChildren();
    render(<App data={data} />, place);
  },
  (error: unknown) => {
    const said = document.createElement("p");
    said.setAttribute("role", "alert");
    said.textContent = error instanceof Error ? error.message : String(error);
    place.append(said);
  },
);
