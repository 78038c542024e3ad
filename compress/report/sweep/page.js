"use strict";
// The page is whole without this: it adds what the pointer shows, the filter, the order of the table, and one run in full.
const runs = JSON.parse(document.getElementById("runs").textContent);
const marks = [...document.querySelectorAll(".scatter .mark")];
const rows = [...document.querySelectorAll(".runs tbody tr")];
const chips = [...document.querySelectorAll(".chip[data-group]")];
const tip = document.getElementById("tip");
const chosen = document.getElementById("chosen");
const shown = document.getElementById("shown");
const everything = document.getElementById("everything");

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function list(pairs) {
  const made = element("dl");
  for (const [name, value] of pairs) made.append(element("dt", name), element("dd", value));
  return made;
}

function headed(run, level) {
  const title = element(level, run.name + " ");
  title.append(element("span", run.status, "badge tone-" + run.tone));
  return title;
}

// What the pointer or the keyboard is on.
function point(number, at) {
  const run = runs[number];
  for (const mark of marks) mark.classList.toggle("hot", Number(mark.dataset.run) === number);
  tip.replaceChildren(headed(run, "strong"), list([...run.settings, ...run.numbers.slice(0, 4)]));
  if (run.front) tip.append(element("div", "on the front of " + run.front, "small"));
  tip.hidden = false;
  const box = at.getBoundingClientRect();
  const left = Math.min(box.right + 10, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const below = box.bottom + 10 + tip.offsetHeight <= window.innerHeight;
  tip.style.left = Math.max(8, left) + window.scrollX + "px";
  tip.style.top = (below ? box.bottom + 10 : Math.max(8, box.top - tip.offsetHeight - 10)) + window.scrollY + "px";
}

function leave() {
  tip.hidden = true;
  for (const mark of marks) mark.classList.remove("hot");
}

// One run in full, with the command that makes it again.
function open(number) {
  const run = runs[number];
  chosen.replaceChildren(headed(run, "h3"), list([...run.numbers, ...run.settings]));
  if (run.reasons.length) {
    const reasons = element("ul");
    for (const reason of run.reasons) reasons.append(element("li", reason));
    chosen.append(element("p", "Reasons", "small"), reasons);
  }
  if (run.command) chosen.append(element("pre", run.command, "command"));
  else chosen.append(element("p", "No command line made this run, or its record is gone.", "small"));
  chosen.hidden = false;
  for (const row of rows) row.classList.toggle("hot", Number(row.dataset.run) === number);
  chosen.scrollIntoView({ block: "nearest" });
}

for (const mark of marks) {
  const number = Number(mark.dataset.run);
  mark.addEventListener("pointerenter", () => point(number, mark));
  mark.addEventListener("pointerleave", leave);
  mark.addEventListener("focus", () => point(number, mark));
  mark.addEventListener("blur", leave);
  mark.addEventListener("click", () => open(number));
}
for (const row of rows) row.querySelector("th button").addEventListener("click", () => open(Number(row.dataset.run)));

// One stop of the tabulator per picture; arrows go from point to point, from left to right.
for (const picture of document.querySelectorAll(".scatter")) {
  const order = [...picture.querySelectorAll(".mark")].sort((a, b) => a.dataset.x - b.dataset.x);
  if (order.length) order[0].setAttribute("tabindex", "0");
  picture.addEventListener("keydown", (event) => {
    const here = order.indexOf(document.activeElement);
    if (here < 0) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(Number(order[here].dataset.run));
      return;
    }
    if (event.key === "Escape") return leave();
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    let next = here + step;
    while (order[next] && order[next].classList.contains("off")) next += step;
    if (!order[next]) return;
    order[here].setAttribute("tabindex", "-1");
    order[next].setAttribute("tabindex", "0");
    order[next].focus();
  });
}

// Values of one setting add up; settings narrow each other down. Nothing pressed: everything.
function filter() {
  const pressed = {};
  for (const chip of chips) {
    if (chip.getAttribute("aria-pressed") === "true") (pressed[chip.dataset.group] ||= new Set()).add(chip.dataset.value);
  }
  const wanted = (run) =>
    Object.entries(pressed).every(([group, values]) => values.has(group === "status" ? run.status : run.levels[group]));
  const kept = new Set(runs.flatMap((run, number) => (wanted(run) ? [number] : [])));
  for (const mark of marks) mark.classList.toggle("off", !kept.has(Number(mark.dataset.run)));
  for (const row of rows) row.hidden = !kept.has(Number(row.dataset.run));
  shown.textContent = kept.size + " of " + runs.length + " runs shown";
  everything.hidden = kept.size === runs.length;
}

for (const chip of chips) {
  chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
    filter();
  });
}
everything.addEventListener("click", () => {
  for (const chip of chips) chip.setAttribute("aria-pressed", "false");
  filter();
});

// The table in the order of a column; what is missing comes last either way.
for (const header of document.querySelectorAll(".runs thead th")) {
  header.querySelector("button").addEventListener("click", () => {
    const first = header.dataset.first;
    const now = header.getAttribute("aria-sort");
    const order = now === "none" ? first : now === "ascending" ? "descending" : "ascending";
    for (const other of header.parentElement.children) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.children[header.cellIndex].dataset.value;
    const compare = (a, b) => {
      const [one, other] = [value(a), value(b)];
      if (one === "" || other === "") return (one === "") - (other === "");
      const [x, y] = [Number(one), Number(other)];
      return sign * (Number.isNaN(x) || Number.isNaN(y) ? one.localeCompare(other, "en", { numeric: true }) : x - y);
    };
    document.querySelector(".runs tbody").append(...rows.sort(compare));
  });
}
