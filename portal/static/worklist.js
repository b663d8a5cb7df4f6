// Keys of the work list: / searches, arrows or J and K go through the studies. Enter opens the one in focus, as ever.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea")) return;
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("text").select();
  } else if (step) {
    const studies = [...document.querySelectorAll(".worklist th a")];
    const now = studies.indexOf(document.activeElement);
    const next = studies[now < 0 ? (step > 0 ? 0 : -1) : now + step];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }
});
