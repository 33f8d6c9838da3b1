// Names the other workers of the line where the one that serves the page does not answer, with links to the same page.
// The page reads no figures from them: no worker lets a page of another address read its own.

const LISTED = 8;

// Shows links below the verdict, or none while the worker answers. `workers` are those of the state that came last.
export function showOtherWorkers(verdict, workers, isLost) {
  const shown = verdict.querySelector(".others");
  if (!isLost) {
    if (shown) shown.remove();
    return;
  }
  const addresses = others(workers);
  if (shown || !addresses.length) return; // links that are shown stay: somebody may be about to follow one
  const links = addresses.map((address) => {
    const link = document.createElement("a");
    link.href = new URL(location.pathname + location.search + location.hash, address).href;
    link.textContent = address;
    return link;
  });
  const told = document.createElement("p");
  told.className = "others";
  told.append("Other workers of this line may answer: ", ...links.flatMap((link, place) => (place ? [", ", link] : [link])));
  verdict.querySelector("ul").after(told);
}

function others(workers) {
  const served = document.getElementById("served-by");
  const own = [location.origin, served ? new URL(served.href).origin : location.origin];
  return workers
    .filter((one) => !one.is_silent && /^https?:\/\//.test(one.url) && URL.canParse(one.url))
    .sort((one, other) => one.is_stale - other.is_stale) // they may answer all the same
    .map((one) => new URL(one.url).origin)
    .filter((origin) => !own.includes(origin))
    .slice(0, LISTED);
}
