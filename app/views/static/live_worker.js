// Keeps one stream for all tabs of a browser: browsers allow six connections to a host.

import { follow } from "./live_source.js";

const GONE_MS = 10000; // time without a word of a tab after which it counts as closed

const tabs = new Map(); // port -> time of its last word
let latest = null;
let end = null;

function tell(message) {
  latest = message;
  for (const [port, at] of tabs) {
    if (Date.now() - at > GONE_MS) tabs.delete(port);
    else port.postMessage(message);
  }
  if (!tabs.size && end) {
    end();
    end = null;
    latest = null;
  }
}

self.addEventListener("connect", (event) => {
  const port = event.ports[0];
  tabs.set(port, Date.now());
  port.onmessage = (told) => {
    if (told.data === "bye") tabs.delete(port);
    else begin(port);
  };
  if (latest) port.postMessage(latest);
  begin(port);
});

function begin(port) {
  tabs.set(port, Date.now());
  if (!end) end = follow((state) => tell({ state }), (since) => tell({ lostSince: since }));
}
