// The page works without this file. With it, keys answer, the page is updated in place, and replies that failed are
// sent again.
"use strict";

const poll = 3000, most = 8000; // milliseconds
let typed = "", busy = false;
const page = () => document.getElementById("page");
const say = (sentence) => { document.getElementById("said").textContent = sentence; };
const wait = (time) => new Promise((done) => setTimeout(done, time));

// Fetches an address until there is a response: a question takes one reply, however often that is sent.
async function fetched(address, options) {
  for (let pause = 500; ; pause = Math.min(2 * pause, most)) {
    try {
      const answer = await fetch(address, options);
      if (answer.status < 500) return answer;
      say(`${await answer.text()} Trying again.`);
    } catch { say("The page is not heard. Is `qdkit rate` still running? Trying again."); }
    await wait(pause);
  }
}

async function replaced(address, options) {
  busy = true;
  page().setAttribute("aria-busy", "true");
  const answer = await fetched(address, options);
  const text = await answer.text();
  busy = false;
  page().removeAttribute("aria-busy");
  if (!answer.ok) return say(text);
  const next = new DOMParser().parseFromString(text, "text/html");
  page().replaceWith(next.getElementById("page"));
  document.title = next.title;
  say("");
  typed = "";
  document.querySelector("h1").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  if (busy) return;
  const form = event.target;
  replaced(form.action, { method: "POST", body: new URLSearchParams(new FormData(form, event.submitter)) });
});

// Collects keys until they are those of a button.
function press(key) {
  const buttons = [...document.querySelectorAll("button[data-keys]")];
  for (const tried of [typed + key, key]) {
    const button = buttons.find((b) => b.dataset.keys === tried);
    if (button) { typed = ""; return button.click(); }
    if (buttons.some((b) => b.dataset.keys.startsWith(tried))) {
      typed = tried;
      document.querySelectorAll("[data-number]").forEach((f) => f.classList.toggle("taken", typed.includes(f.dataset.number)));
      return say(`${[...typed].join(", then ")} …`);
    }
  }
}

document.addEventListener("keydown", (event) => {
  const at = event.target;
  if (at.matches("textarea, input:not([type=checkbox])")) {
    if (event.key === "Escape" || (event.key === "Enter" && at.matches("textarea"))) { event.preventDefault(); at.blur(); }
    return;
  }
  if (!document.getElementById("keys").checked || busy || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.key === "w") { event.preventDefault(); document.querySelector("#why, .words")?.focus(); return; }
  if (event.key === " " && at.closest("button, summary, input")) return;
  const key = event.key === " " ? "Space" : event.key;
  if (/^([1-9]|Space|z)$/.test(key)) { event.preventDefault(); press(key); }
});

document.addEventListener("click", (event) => {
  const figure = event.target.closest("figure[data-number]");
  if (figure && !event.target.closest("details, pre, .prose") && !busy) press(figure.dataset.number);
});

// Updates the map, and the page that waits for candidates.
(async () => {
  for (;;) {
    await wait(poll);
    if (document.hidden || busy) continue;
    try {
      const state = await (await fetch("state")).json();
      if (busy) continue;
      if (page().dataset.waits === "yes" && state.ready) { await replaced(location.pathname); continue; }
      document.getElementById("stands").textContent = state.stands;
      const map = document.getElementById("map");
      if (map && String(state.version) !== page().dataset.version) {
        page().dataset.version = state.version;
        map.src = `map.png?${state.version}`;
        map.alt = state.map;
      }
    } catch { /* the next reply will say it */ }
  }
})();
