"use strict";
// What the pages share: rows that can be filtered, a legend, a list of documents, one tooltip, and keys.
const $ = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const rows = all("tr[data-label]");
const values = (row, key) => row.dataset[key].split("\n");

// One box for each value of `data-KEY`, with the number of its rows; a double click leaves only that one.
const legend = (field, key) => {
  const counts = new Map(), styles = new Map();
  for (const row of rows) {
    for (const value of values(row, key)) {
      counts.set(value, (counts.get(value) || 0) + 1);
      if (key === "label" && values(row, key).length === 1) styles.set(value, row.style.cssText);
    }
  }
  if (counts.size < 2 && key !== "label") return;
  for (const [value, count] of [...counts].sort((one, other) => other[1] - one[1])) {
    const box = element("input", { type: "checkbox", checked: true, defaultChecked: true, value });
    const shown = element("span", {}, value, element("i", { textContent: count }));
    shown.style.cssText = styles.get(value) || "--h:215;--s:12%";
    field.append(element("label", { className: "choice", title: "Double-click: only this" }, box, shown));
  }
  field.addEventListener("dblclick", (event) => {
    const choice = event.target.closest(".choice");
    if (!choice) return;
    for (const box of all("input", field)) box.checked = box.parentNode === choice;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
};
const wanted = (field) => {
  const off = new Set(all("input:not(:checked)", field).map((box) => box.value));
  return (row, key) => values(row, key).some((value) => !off.has(value));
};

// The list of documents, each with the number of its rows that pass the filter.
const articles = all("article");
const links = articles.map((article) => {
  const link = element("a", { href: "#" + article.id }, element("span", { textContent: article.dataset.name }), element("span"));
  $("documents").append(link);
  return link;
});
$("documents").hidden = articles.length < 2;

// Hide the rows that do not pass, tell what is left.
const filterRows = (passes, noun) => {
  let shown = 0;
  for (const row of rows) {
    const on = passes(row);
    row.classList.toggle("off", !on);
    shown += on ? 1 : 0;
  }
  for (const body of all("tbody")) {
    if (body.querySelector("tr[data-label]")) body.classList.toggle("off", !body.querySelector("tr[data-label]:not(.off)"));
  }
  articles.forEach((article, place) => {
    const left = all("tr[data-label]:not(.off)", article).length;
    links[place].lastChild.textContent = left;
    links[place].classList.toggle("empty", left === 0);
  });
  $("count").textContent = (shown === rows.length ? `${shown}` : `${shown} of ${rows.length}`) + " " + noun;
};
const startFilter = (filter) => {
  $("filters").hidden = rows.length === 0;
  $("filters").addEventListener("input", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => setTimeout(filter));
  filter();
};

// One tooltip, above or below the first line of its place, inside the window. It lights up what it speaks of.
const tip = $("tip");
const hideTip = () => {
  tip.hidden = true;
  for (const lit of all(".lit")) lit.classList.remove("lit");
};
const showTip = (place, text, lit) => {
  hideTip();
  tip.textContent = text;
  tip.hidden = false;
  const line = place.getClientRects()[0], size = tip.getBoundingClientRect();
  const above = line.top - size.height - 6;
  tip.style.left = Math.max(8, Math.min(line.left, innerWidth - size.width - 8)) + "px";
  tip.style.top = (above > 8 ? above : line.bottom + 6) + "px";
  for (const other of lit) other.classList.add("lit");
};
// `title` serves where scripts do not run; here it would be a second tooltip.
const tipOf = (place) => {
  if (place.title) {
    place.dataset.tip = place.title;
    place.removeAttribute("title");
  }
  return place.dataset.tip;
};
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true, capture: true });

// j and k walk through the stops; Enter goes to the row of a stop, a click on a row's link back to the stop.
const startKeys = (stops, show) => {
  const reveal = (stop) => {
    stop.scrollIntoView({ block: "center" });
    stop.focus({ preventScroll: true });
    requestAnimationFrame(() => requestAnimationFrame(() => show(stop)));
  };
  const step = (by) => {
    const open = stops();
    if (!open.length) return;
    const now = open.indexOf(document.activeElement);
    reveal(open[now < 0 ? (by > 0 ? 0 : open.length - 1) : (now + by + open.length) % open.length]);
  };
  document.addEventListener("focusin", (event) => show(event.target));
  document.addEventListener("pointerover", (event) => show(event.target));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("tr[data-label] a");
    if (!link) return;
    event.preventDefault();
    reveal($(link.hash.slice(1)));
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      $("filters").reset();
      hideTip();
    } else if (event.target.matches("input[type=search], input[type=range]")) {
      return;
    } else if (event.key === "j") {
      step(1);
    } else if (event.key === "k") {
      step(-1);
    } else if (event.key === "/") {
      event.preventDefault();
      $("words").focus();
    } else if (event.key === "Enter" && event.target.dataset.row) {
      $(event.target.dataset.row).scrollIntoView({ block: "nearest" });
      $(event.target.dataset.row).querySelector("a").focus({ preventScroll: true });
    }
  });
};

// Jumps stop below the bar, whatever its height.
const measure = () => document.documentElement.style.setProperty("--bar", document.querySelector(".bar").offsetHeight + 12 + "px");
addEventListener("resize", measure);
