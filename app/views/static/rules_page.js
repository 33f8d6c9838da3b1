// Checks the rules table while it is edited, and puts the editor in place of the text field where it is bundled.

const PAUSE = 400; // milliseconds without a key after which the table is checked
const AGAIN = 3000; // milliseconds after which a check is asked for again that found no worker with time for it
const SHOWN = 20;

const form = document.getElementById("rules-form");
const area = document.getElementById("table");
const list = document.getElementById("table-problems");

// The text field as it is, with the functions of the editor.
function plain(onChange) {
  area.addEventListener("input", onChange);
  return {
    text: () => area.value,
    goTo(line) {
      const begin = area.value.split("\n").slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
      const end = area.value.indexOf("\n", begin);
      area.focus();
      area.setSelectionRange(begin, end < 0 ? area.value.length : end);
    },
    show(problems) {
      area.setAttribute("aria-invalid", String(problems.length > 0));
    },
  };
}

// Returns the editor in place of the text field; the field itself if the editor cannot be loaded.
async function field(onChange) {
  if (!form.dataset.editor) return plain(onChange);
  let edit;
  try {
    ({ edit } = await import(form.dataset.editor));
  } catch {
    return plain(onChange);
  }
  const place = document.createElement("div");
  place.className = "editor";
  area.before(place);
  const editor = edit(
    place,
    area.value,
    {
      "aria-label": "Rules table",
      "aria-describedby": area.getAttribute("aria-describedby"),
      spellcheck: "false",
      autocapitalize: "off",
      autocorrect: "off",
      tabindex: "0",
    },
    onChange,
  );
  area.hidden = true;
  const keep = () => {
    area.value = editor.text(); // so that it is sent, and is there when the browser comes back to the page
  };
  form.addEventListener("submit", keep);
  form.addEventListener("formdata", (event) => event.formData.set("table", editor.text()));
  window.addEventListener("pagehide", keep);
  document.querySelector('label[for="table"]')?.addEventListener("click", () => editor.focus());
  return editor;
}

function tell(problems, count, goTo) {
  const parts = [];
  if (count) {
    const told = document.createElement("p");
    told.textContent = count === 1 ? "1 problem:" : `${count} problems:`;
    const items = document.createElement("ul");
    for (const one of problems.slice(0, SHOWN)) {
      const item = document.createElement("li");
      if (one.line) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = `line ${one.line}`;
        button.addEventListener("click", () => goTo(one.line));
        item.append(button, ": ");
      }
      item.append(one.problem);
      items.append(item);
    }
    if (count > SHOWN) {
      const more = document.createElement("li");
      more.textContent = `and ${count - Math.min(SHOWN, problems.length)} more`;
      items.append(more);
    }
    parts.push(told, items);
  }
  list.replaceChildren(...parts);
  list.dataset.problems = String(count);
}

async function start() {
  let timer = 0;
  let asked = null; // the check that is under way
  let checked = null; // the text that was checked last

  async function check() {
    const table = editor.text();
    if (table === checked) return;
    asked?.abort();
    const mine = (asked = new AbortController());
    list.dataset.state = "checking";
    try {
      const response = await fetch(form.dataset.check, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json" },
        body: JSON.stringify({ table }),
        signal: mine.signal,
      });
      const answer = await response.json();
      if (mine !== asked) return;
      if (response.status === 503) {
        later(AGAIN);
        return;
      }
      checked = table;
      const problems = response.ok ? answer.problems : [{ line: null, problem: answer.error }];
      if (editor.text() === table) editor.show(response.ok ? problems : []);
      tell(problems, response.ok ? answer.count : 1, editor.goTo);
      list.dataset.state = "checked";
    } catch (error) {
      if (error.name !== "AbortError" && mine === asked) list.dataset.state = "unknown"; // the button asks, too
    }
  }

  function later(pause) {
    clearTimeout(timer);
    timer = setTimeout(check, pause);
  }

  const editor = await field(() => later(PAUSE));
  const isTyped = editor.text() !== area.defaultValue; // before, and the browser has put it back
  if (isTyped || "changed" in form.dataset) later(0);
  else checked = editor.text(); // the current table has no problems
  form.dataset.ready = "";
}

if (form && area && list) start();
