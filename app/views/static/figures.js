// Writes live figures in the same forms as the server (views/figures.py).

export const NONE = "–";
const COUNTED = ["tracks", "rules"]; // what nobody tells of these did not happen
const THROUGH = 0.5; // share of records that come in memory from which a stop is marked as one of a train
const SIGNS = { growing: "▲", draining: "▼" };

export function count(number) {
  return number.toLocaleString("en-US");
}

export function rate(perSecond) {
  if (perSecond >= 10 || perSecond === 0) return Math.round(perSecond).toLocaleString("en-US");
  return perSecond.toFixed(1);
}

export function duration(seconds) {
  if (seconds > 0 && seconds < 0.1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

export function moment(seconds) {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function trend(place) {
  const since = place.since === null ? "" : ` since ${moment(place.since).slice(11, 19)} UTC`;
  const done = place.caught_up_in === null ? "" : `, caught up in about ${duration(place.caught_up_in)}`;
  return `${SIGNS[place.trend] || ""} ${place.trend}${since}${done}`.trim();
}

const FORMS = {
  count,
  rate: (perSecond) => `${rate(perSecond)}/s`,
  seconds: duration,
  trend,
  sign: (place) => SIGNS[place.trend] || "",
  age: (told, elapsed) => {
    const age = told.age + elapsed;
    return `${duration(age)} ago${told.is_stale || age > 3 ? ", out of date" : ""}`;
  },
  dead: (dead) => (dead ? `✕ ${count(dead)} dead` : ""),
  share: (share) => `${Math.round(100 * share)} %`,
  train: (share) => (share >= THROUGH ? " ⇉" : ""),
  text: String,
  time: moment,
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

// Writes all figures of a page. `elapsed` are the seconds since the state came.
export function write(root, found, elapsed) {
  for (const element of root.querySelectorAll("[data-form]")) {
    const { figure, form, group, of } = element.dataset;
    const owner = group && of ? found[group].get(of) : group ? found[group] : found;
    const isNone = owner === undefined && COUNTED.includes(group) && found.workers.size;
    const value = isNone ? 0 : owner === undefined || !figure ? owner : owner[figure];
    const text = value === undefined || value === null ? NONE : FORMS[form](value, elapsed);
    if (element.textContent !== text) element.textContent = text;
    if (element.tagName === "A" && owner && owner.href) element.href = owner.href;
    const row = group === "places" ? element.closest("tr") : null;
    if (row && owner) row.toggleAttribute("data-stale", owner.is_stale || owner.age + elapsed > 3);
  }
}
