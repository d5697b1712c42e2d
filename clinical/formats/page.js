"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const rows = [...document.querySelectorAll("tr[data-label]")];
  const marks = new Map(rows.map((row) => [row.id, []]));
  for (const mark of document.querySelectorAll("mark")) marks.get(mark.dataset.row).push(mark);

  // The legend: one box for each label and each assertion, with the number of its entities.
  const tally = (key) => rows.reduce((all, row) => all.set(row.dataset[key], (all.get(row.dataset[key]) || 0) + 1), new Map());
  const legend = (field, key) => {
    const counts = [...tally(key)].sort((a, b) => b[1] - a[1]);
    if (key === "status" && counts.length < 2) return;
    for (const [name, count] of counts) {
      const label = document.createElement("label");
      label.className = "choice";
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, defaultChecked: true, value: name });
      const shown = document.createElement("span");
      if (key === "label") shown.style.cssText = rows.find((row) => row.dataset.label === name).style.cssText;
      else shown.style.cssText = "--h:215;--s:12%";
      shown.append(name, Object.assign(document.createElement("i"), { textContent: count }));
      label.append(box, shown);
      label.title = "Double-click: only this";
      field.append(label);
    }
  };
  legend($("labels"), "label");
  legend($("statuses"), "status");
  $("score-field").hidden = !rows.some((row) => row.dataset.score);
  $("filters").hidden = rows.length === 0;

  // The list of documents, each with the number of entities that pass the filter.
  const articles = [...document.querySelectorAll("article")];
  const links = articles.map((article) => {
    const link = Object.assign(document.createElement("a"), { href: "#" + article.id });
    link.append(Object.assign(document.createElement("span"), { textContent: article.dataset.name }), document.createElement("span"));
    $("documents").append(link);
    return link;
  });
  $("documents").hidden = articles.length < 2;

  const filter = () => {
    const unwanted = (id) => new Set([...$(id).querySelectorAll("input:not(:checked)")].map((box) => box.value));
    const labels = unwanted("labels"), statuses = unwanted("statuses");
    const words = $("words").value.trim().toLowerCase(), least = Number($("score").value);
    let shown = 0;
    for (const row of rows) {
      const { label, status, score } = row.dataset;
      const off = labels.has(label) || statuses.has(status) || (least > 0 && Number(score || 0) < least) ||
        (words !== "" && !row.cells[0].textContent.toLowerCase().includes(words));
      row.classList.toggle("off", off);
      for (const mark of marks.get(row.id)) {
        mark.classList.toggle("off", off);
        if (mark.id) mark.tabIndex = off ? -1 : 0;
      }
      shown += off ? 0 : 1;
    }
    for (const section of document.querySelectorAll("tbody")) {
      section.classList.toggle("off", !section.querySelector("tr[data-label]:not(.off)"));
    }
    articles.forEach((article, place) => {
      const left = article.querySelectorAll("tr[data-label]:not(.off)").length;
      links[place].lastChild.textContent = left;
      links[place].classList.toggle("empty", left === 0);
    });
    $("score-shown").textContent = least.toFixed(2);
    $("count").textContent = shown === rows.length ? `${rows.length} entities` : `${shown} of ${rows.length} entities`;
    document.body.classList.toggle("untagged", !$("tags").checked);
  };
  $("filters").addEventListener("input", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => setTimeout(filter));
  $("filters").addEventListener("dblclick", (event) => {
    const choice = event.target.closest(".choice");
    if (!choice) return;
    for (const box of choice.parentNode.querySelectorAll("input")) box.checked = box.parentNode === choice;
    filter();
  });

  // One tooltip for all marks, above or below the first line of the mark, inside the window.
  const tip = $("tip");
  const hide = () => { tip.hidden = true; for (const lit of document.querySelectorAll(".lit")) lit.classList.remove("lit"); };
  const show = (mark) => {
    hide();
    if (!mark || mark.classList.contains("off")) return;
    if (mark.title) { mark.dataset.tip = mark.title; mark.removeAttribute("title"); }
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const place = mark.getClientRects()[0], size = tip.getBoundingClientRect();
    const above = place.top - size.height - 6;
    tip.style.left = Math.max(8, Math.min(place.left, innerWidth - size.width - 8)) + "px";
    tip.style.top = (above > 8 ? above : place.bottom + 6) + "px";
    document.getElementById(mark.dataset.row).classList.add("lit");
    for (const part of marks.get(mark.dataset.row)) part.classList.add("lit");
  };
  const visibleMark = (target) => target instanceof Element ? target.closest("mark:not(.off)") : null;
  document.addEventListener("pointerover", (event) => { if (!tip.contains(event.target)) show(visibleMark(event.target)); });
  document.addEventListener("focusin", (event) => show(visibleMark(event.target)));
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true, capture: true });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("tbody a");
    if (!link) return;
    event.preventDefault();
    reveal($(link.hash.slice(1)));
  });

  const reveal = (mark) => {
    mark.scrollIntoView({ block: "center" });
    mark.focus({ preventScroll: true });
    requestAnimationFrame(() => requestAnimationFrame(() => show(mark)));
  };
  const step = (by) => {
    const open = [...document.querySelectorAll("mark[id]:not(.off)")];
    if (!open.length) return;
    const now = open.indexOf(document.activeElement);
    reveal(open[(now + by + open.length + (now < 0 && by < 0 ? 1 : 0)) % open.length]);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { $("filters").reset(); hide(); return; }
    if (event.target.matches("input[type=search], input[type=range]")) return;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "/") { event.preventDefault(); $("words").focus(); }
    else if (event.key === "Enter" && event.target.matches("mark")) {
      $(event.target.dataset.row).scrollIntoView({ block: "nearest" });
      $(event.target.dataset.row).querySelector("a").focus({ preventScroll: true });
    }
  });

  const measure = () => document.documentElement.style.setProperty("--bar", document.querySelector(".bar").offsetHeight + 12 + "px");
  addEventListener("resize", measure);
  filter();
  measure();
})();
