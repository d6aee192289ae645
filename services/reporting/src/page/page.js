// Replaces the figures when they change. Without it the page shows the same figures, of the moment at which it was loaded.
"use strict";

const figures = document.getElementById("figures");
const note = document.getElementById("live");

function time() {
  return `${new Date().toISOString().slice(11, 19)} UTC`;
}

// What a reader has opened, scrolled and focused stays so.
function replace(markup) {
  const opened = [...figures.querySelectorAll("details[open]")].map((element) => element.id);
  const scrolled = [...figures.querySelectorAll(".wide")].map((element) => [element.id, element.scrollLeft]);
  const focused = figures.contains(document.activeElement) ? document.activeElement.id : "";
  figures.innerHTML = markup;
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  for (const [id, left] of scrolled) {
    const element = document.getElementById(id);
    if (element) element.scrollLeft = left;
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

if (figures?.dataset.live) {
  const source = new EventSource(figures.dataset.live);
  let changed = "";
  source.addEventListener("open", () => {
    note.textContent = changed || "Live: this page changes when the figures do.";
    note.dataset.state = "live";
  });
  source.addEventListener("figures", (event) => {
    replace(event.data);
    changed = `Live: the figures changed at ${time()}.`;
    note.textContent = changed;
  });
  source.addEventListener("error", () => {
    const over = source.readyState === EventSource.CLOSED;
    note.textContent = over
      ? "Not live any more: load the page again for newer figures."
      : "Not connected: trying again. These figures may be older.";
    note.dataset.state = over ? "over" : "waiting";
  });
}
