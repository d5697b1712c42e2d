"use strict";
{
  const tags = new Map(all(".tag").map((tag) => [tag.dataset.row, tag]));
  // A segment of the text knows which systems mark it, each with the number of the finding: "0:3 1:3".
  const segments = all(".segment").map((segment) => {
    const document = segment.closest("article").id;
    const cover = segment.dataset.cover.split(" ").map((pair) => pair.split(":"));
    return [segment, cover.map(([system, finding]) => ["s" + system, `${document}f${finding}-row`])];
  });
  const covers = new Map(segments);

  legend($("relations"), "relation");
  legend($("labels"), "label");

  startFilter(() => {
    const relations = wanted($("relations")), labels = wanted($("labels"));
    const words = $("words").value.trim().toLowerCase();
    filterRows((row) => relations(row, "relation") && labels(row, "label") &&
      row.textContent.toLowerCase().includes(words), "findings");
    const on = new Map(rows.map((row) => [row.id, !row.classList.contains("off")]));
    for (const [row, tag] of tags) tag.hidden = !on.get(row);
    for (const [segment, cover] of segments) {
      const shown = cover.filter(([, row]) => on.get(row));
      const kinds = new Set(shown.map(([, row]) => $(row).classList[0]));
      segment.className = ["segment", ...new Set(shown.map(([lane]) => lane)), ...kinds].join(" ");
    }
  });

  startKeys(() => [...tags.values()].filter((tag) => !tag.hidden), (target) => {
    const place = target.closest(".tag, .segment");
    if (!place) return hideTip();
    const ids = place.matches(".tag") ? [place.dataset.row] : [...new Set(covers.get(place).map(([, row]) => row))];
    const shown = ids.filter((id) => !$(id).classList.contains("off"));
    if (!shown.length) return hideTip();
    const parts = segments.filter(([, cover]) => cover.some(([, row]) => shown.includes(row))).map(([segment]) => segment);
    showTip(place, shown.map((id) => tipOf(tags.get(id))).join("\n\n"), [...shown.map($), ...shown.map((id) => tags.get(id)), ...parts]);
  });
  measure();
}
