"use strict";
// A sentence, an omission or a conflict lights up its places in the note; a place lights up what stands on it.
{
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const spotsOf = (element) => (element.dataset.spots || "").split(" ").filter(Boolean);
  const choices = all("button[data-spots]");
  const clear = () => {
    for (const lit of all(".lit")) lit.classList.remove("lit");
    for (const choice of choices) choice.setAttribute("aria-pressed", "false");
  };
  const choose = (choice) => {
    clear();
    choice.setAttribute("aria-pressed", "true");
    const wanted = new Set(spotsOf(choice));
    const lit = all(".spot", choice.closest("article")).filter((spot) => spotsOf(spot).some((one) => wanted.has(one)));
    for (const spot of lit) spot.classList.add("lit");
    if (!lit.length) return;
    // Scroll the note alone where it has its own window, so that the sentence stays in sight.
    const notes = lit[0].closest(".notes");
    if (notes.scrollHeight > notes.clientHeight) {
      const top = lit[0].getBoundingClientRect().top - notes.getBoundingClientRect().top + notes.scrollTop;
      notes.scrollTo({ top: top - notes.clientHeight / 3 });
    } else if (getComputedStyle(notes).position !== "sticky") {
      lit[0].scrollIntoView({ block: "nearest" });
    }
  };
  document.addEventListener("click", (event) => {
    const choice = event.target.closest("button[data-spots]");
    if (choice) return choose(choice);
    const spot = event.target.closest(".spot");
    if (!spot) return;
    const wanted = new Set(spotsOf(spot));
    const found = choices.find((one) => spotsOf(one).some((other) => wanted.has(other)));
    if (found) {
      choose(found);
      found.scrollIntoView({ block: "nearest" });
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return clear();
    const by = { j: 1, k: -1 }[event.key];
    if (!by || !choices.length) return;
    const now = choices.findIndex((choice) => choice.getAttribute("aria-pressed") === "true");
    const next = choices[now < 0 ? (by > 0 ? 0 : choices.length - 1) : (now + by + choices.length) % choices.length];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
    choose(next);
  });
}
