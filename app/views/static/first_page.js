// Keeps the first page up to date. Without it, the page is that of the moment in which it was loaded.

import { count, duration, indexed, isStale, moment, rate, showTrains, write, NONE } from "./figures.js";
import { listen } from "./live_tabs.js";
import { showOtherWorkers } from "./other_workers.js";
import "./panels.js";
import { fillPanels } from "./stop_panels.js";

const STALE_SECONDS = 3;
const LISTED_EVENTS = 20;
const SIGNS = { good: "✓", notice: "!", bad: "✕" };
const WIDTH = 720;
const HEIGHT = 120;
const SVG = "http://www.w3.org/2000/svg";

const verdict = document.getElementById("verdict");
const age = document.getElementById("age");
const freshness = document.getElementById("freshness");
let latest = null;
let found = null;
let heardAt = 0;
let isLost = false;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawn(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

function showVerdict({ level, kind, text, more }) {
  verdict.className = `verdict ${level}`;
  const [sign, words] = verdict.querySelectorAll("h2 span");
  setText(sign, `${SIGNS[level]} `);
  setText(words, text);
  setText(verdict.querySelector("[role=status]"), `Verdict: ${level}, ${kind}.`); // read out when it changes
  const list = verdict.querySelector("ul");
  if ([...list.children].map((one) => one.textContent).join("\n") === more.join("\n")) return;
  list.replaceChildren(...more.map((one) => element("li", one)));
}

function workerRow(worker, elapsed) {
  const row = element("tr", null);
  const seconds = Math.max(worker.behind, worker.source_behind);
  const isOld = isStale(worker, elapsed);
  const state = worker.is_silent ? "silent, " : isOld ? "out of date, " : "";
  const problems = worker.problems.length ? `; not ready: ${worker.problems.join("; ")}` : "";
  const address = element("td", null);
  const link = element("a", worker.url);
  if (/^https?:\/\//.test(worker.url)) link.href = worker.url;
  address.append(link);
  const code = element("td", null);
  code.append(element("code", worker.code));
  row.append(
    address,
    element("td", worker.group),
    element("td", worker.parts.join(", ")),
    element("td", worker.strategy),
    element("td", count(worker.version), { class: "number" }),
    code,
    element("td", seconds >= 1 ? `${Math.round(seconds)} s` : "no", { class: "number" }),
    element("td", `${rate(worker.entered_per_second)}/s`, { class: "number" }),
    element("td", `${rate(worker.settled_per_second)}/s`, { class: "number" }),
    element("td", moment(worker.started), { class: "time" }),
    element("td", `${state}${duration(worker.age + elapsed)} ago${problems}`),
  );
  row.toggleAttribute("data-stale", isOld);
  return row;
}

function showWorkers(elapsed) {
  const body = document.querySelector("#workers tbody");
  if (!body || body.contains(document.activeElement)) return; // a link that has the focus keeps it
  const told = new Set(latest.workers.map((one) => one.url));
  const announced = [...body.rows].filter((row) => row.cells[5].textContent === NONE && !told.has(row.cells[0].textContent));
  body.replaceChildren(...latest.workers.map((worker) => workerRow(worker, elapsed)), ...announced);
}

function failureItem(failure, text) {
  const item = element("li", null);
  const query = new URLSearchParams({ stop: failure.stop, kind: failure.cause });
  item.append(element("a", text, { href: `/dead-letters/?${query}` }));
  return item;
}

function showFailures() {
  for (const list of document.querySelectorAll(".failures")) {
    const failures = latest.failures.filter((one) => one.stop === list.dataset.stop);
    const texts = failures.map((one) => `${count(one.count)} dead letters: ${one.cause}, ${rate(one.per_second)}/s`);
    const shown = [...list.children].map((one) => one.textContent);
    if (texts.join("\n") === shown.join("\n") || list.contains(document.activeElement)) continue;
    list.replaceChildren(...failures.map((one, place) => failureItem(one, texts[place])));
  }
}

function eventItem(event) {
  const item = element("li", `${moment(event.at)} `);
  item.append(event.href ? element("a", event.text, { href: event.href }) : event.text);
  return item;
}

function showEvents() {
  const list = document.getElementById("events");
  const events = latest.events.slice(0, LISTED_EVENTS);
  const texts = events.map((one) => `${moment(one.at)} ${one.text}`);
  if (texts.join("\n") === [...list.children].map((one) => one.textContent).join("\n")) return;
  if (!list.contains(document.activeElement)) list.replaceChildren(...events.map(eventItem)); // a link keeps the focus
}

function showChart() {
  const points = latest.points;
  if (points.length < 2) return;
  const first = points[0].at;
  const last = points[points.length - 1].at;
  const ended = points.map((one) => one.delivered_per_second + one.dropped_per_second + one.dead_per_second);
  const entered = points.map((one) => one.entered_per_second);
  const peak = Math.max(...ended, ...entered);
  const scale = Math.max(1, peak);
  const x = (at) => ((WIDTH * (at - first)) / (last - first)).toFixed(1);
  const line = (values, kind) => {
    const ways = values.map((value, place) => `${x(points[place].at)},${(HEIGHT * (1 - value / scale)).toFixed(1)}`);
    return drawn("polyline", { points: ways.join(" "), class: kind });
  };
  const marks = latest.events
    .filter((one) => one.at >= first && one.at <= last)
    .map((one) => drawn("line", { x1: x(one.at), x2: x(one.at), y1: 0, y2: HEIGHT, class: "mark" }, drawn("title", {}, one.text)));
  const told = `Records per second in the last ${duration(last - first)}`;
  const picture = drawn(
    "svg",
    { viewBox: `0 -4 ${WIDTH} ${HEIGHT + 8}`, class: "chart", role: "img" },
    drawn("title", {}, `${told}: up to ${rate(peak)}/s`),
    ...marks,
    line(entered, "entered"),
    line(ended, "ended"),
  );
  const note =
    `${told}, up to ${rate(peak)}/s: the solid line is what came in, the dashed one what got an outcome, ` +
    "and an upright line is a change.";
  const axis = element("p", null, { class: "axis" });
  axis.append(element("span", moment(first).slice(11)), element("span", moment(last).slice(11)));
  document.getElementById("chart").replaceChildren(picture, axis, element("p", note, { class: "note" }));
}

function showVersion() {
  const shown = document.getElementById("version");
  if (!shown || Number(shown.dataset.version) >= latest.version) return;
  const before = shown.dataset.version === "0" ? "" : `${shown.dataset.version}; `; // without a table there is no map
  shown.replaceChildren(element("a", `${before}version ${latest.version} is in use: show it`, { href: "/" }));
}

function showAll() {
  found = indexed(latest);
  showVerdict(latest.verdict);
  verdict.querySelector("time").replaceWith(element("time", moment(latest.at), { datetime: new Date(latest.at * 1000).toISOString() }));
  showWorkers(0);
  showFailures();
  showEvents();
  showChart();
  showVersion();
  showTrains(document, found);
  tick();
}

function tick() {
  if (!latest) return;
  const elapsed = (Date.now() - heardAt) / 1000;
  write(document, found, elapsed);
  setText(age, latest.age === null ? NONE : `${duration(latest.age + elapsed)} ago`);
  const isSilent = isLost || elapsed > STALE_SECONDS;
  const isOld = isStale(latest, elapsed) || isSilent;
  document.body.toggleAttribute("data-stale", isOld);
  showOtherWorkers(verdict, latest.workers, isSilent);
  if (isSilent) {
    const text = `This worker does not answer: the figures are out of date since ${moment(heardAt / 1000)}.`;
    showVerdict({ level: "bad", kind: "figures are missing or out of date", text, more: [] });
    showWorkers(elapsed);
  }
  setText(freshness, isOld ? "Some of them are out of date." : "They are kept up to date.");
}

// A map that is wider than its place says so, and begins with the source in the middle.
function showSource() {
  const map = document.getElementById("map");
  const source = [...document.querySelectorAll("#map a[href='#stop-source'] rect")].find((one) => one.checkVisibility());
  if (!source) return;
  const goesOn = map.scrollWidth > map.clientWidth;
  if (goesOn !== map.hasAttribute("data-goes-on")) {
    map.toggleAttribute("data-goes-on", goesOn);
    const [place, station] = [map.getBoundingClientRect(), source.getBoundingClientRect()];
    map.scrollLeft += station.left + station.width / 2 - place.left - place.width / 2;
  }
}

addEventListener("resize", showSource);
showSource();

listen(
  (state) => {
    latest = state;
    heardAt = Date.now();
    isLost = false;
    showAll();
  },
  () => {
    isLost = true;
    tick();
  },
);
setInterval(tick, 1000);
fillPanels();
