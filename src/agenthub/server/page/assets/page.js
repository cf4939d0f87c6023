(() => {
  "use strict";
  // Show times as "5 minutes ago"; the exact time is in the title.
  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  function ago(seconds) {
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) || ["second", 1];
    return unit === "second" ? "just now" : words.format(Math.trunc(seconds / size), unit);
  }
  function times(root) {
    for (const each of root.querySelectorAll("time[datetime]")) {
      if (!each.title) each.title = each.textContent + " UTC";
      const text = ago((Date.parse(each.dateTime) - Date.now()) / 1000);
      if (each.textContent !== text) each.textContent = text;
    }
  }
  times(document);
  setInterval(() => document.hidden || times(document), 30000);

  const url = document.body.dataset.events, pulse = document.getElementById("pulse");
  if (!url) return;
  let seen = Number(document.body.dataset.cursor), wanted = seen, busy = false, timer = 0;

  function say(text, live) {
    if (pulse.textContent !== text) pulse.textContent = text;
    pulse.classList.toggle("live", live);
  }

  // Fetch the same page again and replace the sections whose source changed. Unchanged sections and
  // the reader's scroll positions stay.
  const sources = new Map();
  for (const each of document.querySelectorAll("[data-live]")) sources.set(each.id, each.outerHTML);
  async function renew() {
    if (busy) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { cache: "no-cache", credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      seen = Math.max(seen, Number(page.body.dataset.cursor) || 0);
      const here = document.querySelectorAll("[data-live]"), there = page.querySelectorAll("[data-live]");
      if (here.length !== there.length) return location.reload();
      there.forEach(replace);
    } finally {
      busy = false;
    }
  }
  function replace(newer) {
    const source = newer.outerHTML, older = document.getElementById(newer.id);
    if (!older) return location.reload();
    if (sources.get(newer.id) === source) return;
    sources.set(newer.id, source);
    const focus = older.contains(document.activeElement) && document.activeElement.getAttribute("href");
    const places = [...older.querySelectorAll(".scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
    times(newer);
    older.replaceChildren(...newer.childNodes);
    [...older.querySelectorAll(".scroll")].forEach((box, i) => {
      if (places[i]) [box.scrollLeft, box.scrollTop] = places[i];
    });
    if (focus) [...older.querySelectorAll("a")].find((a) => a.getAttribute("href") === focus)?.focus();
  }
  function soon(cursor) {
    wanted = Math.max(wanted, cursor);
    if (timer || wanted <= seen || document.hidden) return;
    timer = setTimeout(() => {
      timer = 0;
      renew().then(() => soon(0), () => setTimeout(() => soon(0), 5000));
    }, 300);
  }

  // Only a visible page holds a connection: a browser has few of them for one server.
  let events = null, again = 0;
  function listen() {
    clearTimeout(again);
    if (events || document.hidden) return;
    const mine = events = new EventSource(url + "?since=" + seen);
    mine.onopen = () => say("live", true);
    mine.onmessage = (event) => soon(Number(event.data) || 0);
    mine.onerror = () => {
      say("connecting …", false);
      if (mine.readyState !== EventSource.CLOSED) return;
      leave();
      again = setTimeout(() => renew().then(listen, listen), 30000);
    };
  }
  function leave() {
    clearTimeout(again);
    if (events) events.close();
    events = null;
  }
  function turn() {
    if (document.hidden) return leave();
    soon(0);
    listen();
  }
  document.addEventListener("visibilitychange", turn);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", turn);
  listen();
})();
