// Keeps the session panel up to date: asks for the replicas' verdicts, and
// signs out without leaving the page. Without it the page shows the verdicts
// as they were when it was loaded, and the buttons load it anew.
"use strict";

const panel = () => document.getElementById("session");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function showVerdicts({ state, title, verdicts }) {
  panel().dataset.state = state;
  document.getElementById("session-title").textContent = title;
  for (const verdict of verdicts) {
    const row = [...panel().querySelectorAll("[data-replica]")].find((li) => li.dataset.replica === verdict.replica);
    if (!row) continue;
    row.dataset.state = verdict.state;
    row.querySelector(".label").textContent = verdict.label;
    row.querySelector(".detail").textContent = verdict.detail;
  }
}

let shownEvents = "";

function showEvents(events) {
  const feed = document.getElementById("feed");
  const text = JSON.stringify(events);
  if (!feed || !events || text === shownEvents) return;
  shownEvents = text;
  feed.replaceChildren(...events.map(({ at, kind, session }) => {
    const part = (name, content) => Object.assign(document.createElement(name), { textContent: content });
    const row = document.createElement("li");
    row.append(part("time", at), part("span", kind));
    if (session) row.append(part("code", "…" + session));
    return row;
  }));
}

async function look() {
  const response = await fetch("/demo/verdicts");
  if (!response.ok) return;
  const now = await response.json();
  showEvents(now.events);
  // After a sign-out the panel has the last word, with the times that it took.
  if (!panel().dataset.settled) showVerdicts(now);
}

async function keepLooking() {
  for (;;) {
    await pause(document.hidden ? 2000 : 250);
    await look().catch(() => pause(1000));
  }
}

async function signOut(form) {
  panel().dataset.busy = "yes";
  const response = await fetch(form.action, { method: "POST", headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const after = page.getElementById("session");
  if (!after) {
    // The session was over already, or nobody answers: the page itself says so.
    location.reload();
    return;
  }
  panel().replaceWith(after);
  shownEvents = "";
  document.getElementById("session-title").focus();
}

document.addEventListener("submit", (event) => {
  if (!panel().contains(event.target)) return;
  event.preventDefault();
  if (panel().dataset.busy) return;
  signOut(event.target).catch(() => location.reload());
});

keepLooking();
