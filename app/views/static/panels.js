// Leads to the panel of a stop and back: the focus goes along, and Escape brings it back to where it came from.
// Without it, links lead to the panels, and the focus stays where the browser leaves it.

const LINKS = 'a[href^="#stop-"]';

let opener = null; // the link that was followed last

function opened() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  return named && named.matches(".panel") ? named : null;
}

function enter() {
  const panel = opened();
  if (panel) panel.querySelector("h3").focus();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest(LINKS);
  if (!link) return;
  opener = link;
  if (link.getAttribute("href") === location.hash) enter(); // its panel is open: the address does not change
});

document.addEventListener("keydown", (event) => {
  const panel = opened();
  if (event.key !== "Escape" || event.defaultPrevented || !panel) return;
  const shown = [opener, ...document.querySelectorAll(LINKS)].filter((link) => link && link.checkVisibility());
  const back = shown.find((link) => link.getAttribute("href") === location.hash);
  location.hash = "";
  if (back) back.focus();
});

addEventListener("hashchange", enter);
enter();
