// Adds to the panel of a stop, when somebody comes to it, its latest journeys and its groups of dead letters.

import { count, duration, moment } from "./figures.js";

const FRESH_MS = 5000; // time for which they are not asked for again

const askedAt = new Map();

function item(parts) {
  const made = document.createElement("li");
  made.append(...parts);
  return made;
}

function link(text, href) {
  const made = document.createElement("a");
  made.textContent = text;
  made.href = href;
  return made;
}

function listed(title, items) {
  const head = document.createElement("h4");
  head.textContent = title;
  const list = document.createElement("ul");
  list.append(...items);
  return [head, list];
}

function journey(one) {
  const way = link(one.id, `/journeys/${encodeURIComponent(one.id)}`);
  const reason = one.reason ? `: ${one.reason}` : "";
  return item([way, ` ${one.outcome}${reason}, ${duration(one.seconds)}, ended ${moment(one.ended)}`]);
}

function group(one) {
  const letters = one.count === 1 ? "1 dead letter" : `${count(one.count)} dead letters`;
  const way = link(`group ${one.group}`, `/dead-letters/?${new URLSearchParams({ group: one.group })}`);
  return item([way, ` ${letters}: ${one.kind}: ${one.reason}`]);
}

async function fill(place, stop) {
  const now = Date.now();
  if (now - (askedAt.get(stop) || 0) < FRESH_MS) return;
  askedAt.set(stop, now);
  try {
    const answer = await fetch(`/api/stop?${new URLSearchParams({ name: stop })}`, { headers: { Accept: "application/json" } });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error || `${answer.status}`);
    place.replaceChildren(
      ...(told.groups.length ? listed("Dead letters by cause", told.groups.map(group)) : []),
      ...(told.journeys.length ? listed("Latest journeys", told.journeys.map(journey)) : []),
      ...told.problems.map((problem) => document.createTextNode(`Not read: ${problem}. `)),
    );
  } catch (error) {
    place.textContent = `The latest journeys could not be read: ${error.message}`;
  }
}

function fillTarget() {
  let id = "";
  try {
    id = decodeURIComponent(location.hash.slice(1));
  } catch {
    return;
  }
  const place = document.getElementById(id)?.querySelector(".recent");
  if (place) fill(place, place.dataset.stop);
}

export function fillPanels() {
  addEventListener("hashchange", fillTarget);
  fillTarget();
}
