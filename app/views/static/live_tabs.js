// Hands the live state to a tab, from the one stream that all tabs of the browser share: in a shared worker or, where
// there is none, in the tab that holds a lock and tells the others.

import { follow } from "./live_source.js";

const WORD_MS = 3000;
const CHANNEL = "metroline-live";

// Calls `told(state)` with each state, and `lost(since)` when nothing comes.
export function listen(told, lost) {
  const hear = (message) => (message.state ? told(message.state) : lost(message.lostSince));
  if (typeof SharedWorker === "function") return listenToWorker(hear);
  if (navigator.locks && typeof BroadcastChannel === "function") return listenToLeader(hear);
  return follow(told, lost);
}

function listenToWorker(hear) {
  const worker = new SharedWorker("/static/live_worker.js", { type: "module", name: CHANNEL });
  const port = worker.port;
  port.onmessage = (event) => hear(event.data);
  port.start();
  setInterval(() => port.postMessage("here"), WORD_MS);
  addEventListener("pagehide", () => port.postMessage("bye"));
  addEventListener("pageshow", () => port.postMessage("here"));
}

function listenToLeader(hear) {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = (event) => hear(event.data);
  navigator.locks.request(CHANNEL, () => {
    const tell = (message) => {
      hear(message);
      channel.postMessage(message);
    };
    follow((state) => tell({ state }), (since) => tell({ lostSince: since }));
    return new Promise(() => {}); // until the tab is closed
  });
}
