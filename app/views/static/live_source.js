// Gets the live state of the line from the worker: as a stream of events or, where none comes through, by asking.

export const STREAM = "/api/live/stream";
export const STATE = "/api/live";

const SILENT_MS = 3000; // time without an event after which a proxy is taken to hold them back, or the worker to be gone
const ASK_MS = 2000; // time without an event after which the worker is asked, and between two questions
const LOOK_MS = 500; // time between two looks at whether an event is missing
const STREAM_AGAIN_MS = 30000; // time until the stream is tried again
const POINTS = 180; // points that are kept, one a second

// Calls `told(state)` with each state and `lost(since)` when nothing comes, with the time since when. Returns a function
// that ends it.
export function follow(told, lost) {
  let stream = null;
  let state = null;
  let heardAt = Date.now();
  let triedAt = 0;
  let askedAt = 0;
  let isAsking = false;
  let isEnded = false;

  function hear(next, isWhole) {
    if (!isWhole && state) next.points = merged(state.points, next.points);
    state = next;
    heardAt = Date.now();
    told(state);
  }

  function connect() {
    triedAt = Date.now();
    if (stream) stream.close();
    stream = new EventSource(STREAM);
    stream.addEventListener("snapshot", (event) => hear(JSON.parse(event.data), true));
    stream.addEventListener("update", (event) => hear(JSON.parse(event.data), false));
    stream.addEventListener("error", () => ask(true)); // it has ended: the worker may be gone
  }

  async function ask(isUrgent) {
    if (isAsking || isEnded || (!isUrgent && Date.now() - askedAt < ASK_MS)) return;
    isAsking = true;
    askedAt = Date.now();
    try {
      const answer = await fetch(STATE, { cache: "no-store", signal: AbortSignal.timeout(4000) });
      if (answer.ok && !isEnded) hear(await answer.json(), true);
    } catch (error) {
      if (error instanceof TypeError && !isEnded) lost(heardAt); // nobody is there; one that is slow is waited for below
    } finally {
      isAsking = false;
    }
  }

  connect();
  const timer = setInterval(() => {
    const silence = Date.now() - heardAt;
    if (silence > ASK_MS) ask(false);
    if (silence > SILENT_MS) lost(heardAt);
    const isOpen = stream && stream.readyState === EventSource.OPEN;
    if (silence > ASK_MS / 2 && Date.now() - triedAt > (isOpen ? STREAM_AGAIN_MS : SILENT_MS)) connect();
  }, LOOK_MS);

  return () => {
    isEnded = true;
    clearInterval(timer);
    stream.close();
  };
}

function merged(before, latest) {
  const last = before.length ? before[before.length - 1].at : 0;
  return [...before, ...latest.filter((point) => point.at > last)].slice(-POINTS);
}
