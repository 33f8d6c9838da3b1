// Writes live figures in the same forms as the server (views/figures.py).

export const NONE = "–";
const STALE_SECONDS = 3;
const COUNTED = ["tracks", "rules"]; // what nobody tells of these did not happen
const SETTLED = ["tracks", "rules", "failures", "schedules"]; // what the arrivals count when a journey ends
const AGE_FORMS = ["since", "stale"]; // made of the age of figures
const THROUGH = 0.5; // share of records that come in memory from which a stop is marked as one of a train
const SIGNS = { growing: "▲", draining: "▼" };

export function count(number) {
  return number.toLocaleString("en-US");
}

export function rate(perSecond) {
  if (perSecond >= 10 || perSecond === 0) return count(Math.round(perSecond));
  return perSecond.toFixed(1);
}

export function duration(seconds) {
  if (seconds > 0 && seconds < 0.1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${count(Math.round(seconds / 3600))} h`;
}

export function moment(seconds) {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

// Returns whether figures are out of date. `elapsed` are the seconds since they came.
export function isStale(told, elapsed) {
  return told.is_stale || told.age + elapsed > STALE_SECONDS;
}

// Returns the time of day of a moment, with its date if that is not the present one.
function clock(at, now) {
  const [told, present] = [at, now].map((one) => moment(one).slice(0, 19));
  return `${told.slice(0, 10) === present.slice(0, 10) ? told.slice(11) : told} UTC`;
}

function trend(place, elapsed, now) {
  const since = place.since === null ? "" : `, behind since ${clock(place.since, now)}`;
  const done = place.caught_up_in === null ? "" : `, caught up in about ${duration(place.caught_up_in)}`;
  return `${SIGNS[place.trend] || ""} ${place.trend}${since}${done}`.trim();
}

function since(told, elapsed, now) {
  if (!isStale(told, elapsed)) return "";
  return told.age === null ? "Out of date." : `Out of date since ${clock(now - told.age, now + elapsed)}.`;
}

function stale(told, elapsed, now) {
  if (!isStale(told, elapsed)) return "";
  return told.age === null ? "out of date" : `since ${moment(now - told.age).slice(11, 19)}`;
}

function few(number) {
  if (number < 1e3) return String(number);
  return number < 1e6 ? `${Math.floor(number / 1e3)}k` : `${Math.floor(number / 1e6)}M`;
}

function losses(place) {
  const found = [place.dead && `✕ ${few(place.dead)} dead`, place.dropped && `${few(place.dropped)} dropped`];
  return found.filter(Boolean).join(" · ");
}

// Each takes a value, the seconds since it came, and the time at which it was told, in seconds since the epoch.
const FORMS = {
  count,
  rate: (perSecond) => `${rate(perSecond)}/s`,
  seconds: duration,
  sign: (place) => SIGNS[place.trend] || "",
  age: (told, elapsed) => `${duration(told.age + elapsed)} ago${isStale(told, elapsed) ? ", out of date" : ""}`,
  losses,
  retries: (retries) => (retries ? `${few(retries)} retries` : ""),
  share: (share) => `${Math.round(100 * share)} %`,
  train: (share) => (share >= THROUGH ? " ⇉" : ""),
  text: String,
  time: moment,
  trend,
  since,
  stale,
};

// Returns a state in which workers, schedules, tracks and rules are found by their names.
export function indexed(state) {
  const by = (list, key) => new Map(list.map((one) => [key(one), one]));
  return {
    ...state,
    places: new Map(Object.entries(state.places)),
    workers: by(state.workers, (one) => one.id),
    schedules: by(state.schedules, (one) => one.name),
    tracks: by(state.tracks, (one) => `${one.start}>${one.is_end ? "=" : ""}${one.end}`),
    rules: by(state.rules, (one) => one.rule),
  };
}

// Shows the trains to the stops to which most records come in memory.
export function showTrains(root, found) {
  for (const train of root.querySelectorAll(".train")) {
    const place = found.places.get(train.dataset.of);
    train.toggleAttribute("data-on", place !== undefined && place.chained_share >= THROUGH);
  }
}

function ownerOf(found, group, of) {
  return group && of ? found[group].get(of) : group ? found[group] : found;
}

// Returns what has the age of a figure: its place or worker, what the arrivals count, or the line.
function toldBy(found, group, of) {
  if (SETTLED.includes(group)) return found.settled;
  return of ? ownerOf(found, group, of) : found;
}

// Writes all figures of a page. `elapsed` are the seconds since the state came.
export function write(root, found, elapsed) {
  for (const element of root.querySelectorAll("[data-form]")) {
    const { figure, form, group, of } = element.dataset;
    const told = toldBy(found, group, of);
    const isAge = AGE_FORMS.includes(form);
    const owner = isAge ? told : ownerOf(found, group, of);
    const isNone = owner === undefined && COUNTED.includes(group) && found.workers.size;
    const value = isNone ? 0 : owner === undefined || !figure ? owner : owner[figure];
    const none = isAge ? "" : NONE;
    const text = value === undefined || value === null ? none : FORMS[form](value, elapsed, found.at);
    if (element.textContent !== text) element.textContent = text;
    if (element.tagName === "A" && owner && owner.href) element.href = owner.href;
    element.toggleAttribute("data-stale", told !== undefined && isStale(told, elapsed));
  }
}
