// Keeps the progress of a comparison up to date, and loads the page again when the comparison has ended.

const EVERY = 4000;

async function look(place) {
  const answer = await fetch(`/compare/${place.dataset.run}/?format=json`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const run = await answer.json();
  if (run.state !== "running") {
    location.reload();
    return;
  }
  const bar = place.querySelector("progress");
  if (run.total) {
    bar.max = run.total;
    bar.value = Math.min(run.done, run.total);
  } else {
    bar.removeAttribute("value");
  }
  const done = run.done.toLocaleString("en");
  const far = run.total ? `: ${done} of ${run.total.toLocaleString("en")}` : run.done ? `: ${done}` : "";
  place.querySelector(".step").textContent = `${run.step || "starting"}${far}`;
  setTimeout(follow, EVERY, place);
}

function follow(place) {
  look(place).catch(() => {
    place.querySelector(".step").textContent = "This worker does not answer. The figures are old.";
    setTimeout(follow, 2 * EVERY, place);
  });
}

for (const place of document.querySelectorAll("[data-run]")) setTimeout(follow, EVERY, place);
