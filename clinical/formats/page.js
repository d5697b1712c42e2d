"use strict";
{
  const marks = new Map(rows.map((row) => [row.id, []]));
  for (const mark of all("mark")) marks.get(mark.dataset.row).push(mark);

  legend($("labels"), "label");
  legend($("statuses"), "status");
  $("score-field").hidden = !rows.some((row) => row.dataset.score);

  startFilter(() => {
    const labels = wanted($("labels")), statuses = wanted($("statuses"));
    const words = $("words").value.trim().toLowerCase(), least = Number($("score").value);
    $("score-shown").textContent = least.toFixed(2);
    document.body.classList.toggle("untagged", !$("tags").checked);
    filterRows((row) => labels(row, "label") && statuses(row, "status") &&
      (least === 0 || Number(row.dataset.score || 0) >= least) &&
      row.cells[0].textContent.toLowerCase().includes(words), "entities");
    for (const row of rows) {
      const off = row.classList.contains("off");
      for (const mark of marks.get(row.id)) {
        mark.classList.toggle("off", off);
        if (mark.id) mark.tabIndex = off ? -1 : 0;
      }
    }
  });

  startKeys(() => all("mark[id]:not(.off)"), (target) => {
    const mark = target.closest("mark:not(.off)");
    if (mark) showTip(mark, tipOf(mark), [$(mark.dataset.row), ...marks.get(mark.dataset.row)]);
    else hideTip();
  });
  measure();
}
