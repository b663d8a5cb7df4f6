// Verdicts by keyboard, and what was typed kept while the page is away. Without this script every form works as well.
"use strict";
(() => {
  const KEEP_MAX = 16384;
  const rows = () => [...document.querySelectorAll(".verdict")].filter((one) => one.querySelector("button"));
  // The row that had the focus last: a verdict draws it anew, and then nothing has the focus for a moment.
  let last = null;
  document.addEventListener("focusin", (event) => { last = event.target.closest(".verdict")?.id ?? null; });
  const lost = () => (!document.activeElement || document.activeElement === document.body ? document.getElementById(last ?? "") : null);
  const current = () => document.activeElement?.closest(".verdict") ?? lost();
  const inside = () => document.activeElement?.closest(".verdict, #review-bar, .report-findings") ?? lost();

  function go(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(current());
    const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  function press(word) {
    const row = current();
    const button = row?.querySelector(`button[value^="${word} "]`);
    button?.click();
  }

  const KEYS = {
    j: () => go(1), k: () => go(-1), a: () => press("accept"), r: () => press("reject"), u: () => press("unsure"),
    z: () => press("undo"), e: () => current()?.querySelector("a")?.click(),
    m: () => document.getElementById("add-missed")?.click(),
    f: () => document.getElementById("finish-review")?.focus(),
    "?": () => { const help = document.querySelector(".review-keys"); if (help) { help.open = true; help.querySelector("summary").focus(); } },
  };

  document.addEventListener("keydown", (event) => {
    const types = event.target.closest?.("input, select, textarea, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || types) return;
    // Only while the focus is where findings are judged (WCAG 2.1.4); j begins there.
    if (!inside() || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });

  function focusAgain() {
    const row = lost();
    row?.focus();
  }
  document.addEventListener("htmx:afterSettle", () => {
    const problem = document.querySelector("#review-problem[role=alert]");
    if (problem) problem.focus(); else focusAgain();
  });

  // A draft is kept until the form was taken: the page that follows it has no such form, or an empty one.
  for (const form of document.querySelectorAll("form[data-draft]")) {
    const name = `draft ${location.pathname}`;
    const fields = [...form.elements].filter((one) => one.name && ["text", "textarea", "select-one"].includes(one.type));
    const kept = JSON.parse(sessionStorage.getItem(name) ?? "{}");
    for (const field of fields) if (kept[field.name] && !field.defaultValue) field.value = kept[field.name];
    form.addEventListener("input", () => {
      const text = JSON.stringify(Object.fromEntries(fields.map((one) => [one.name, one.value])));
      if (text.length <= KEEP_MAX) sessionStorage.setItem(name, text);
    });
    form.addEventListener("submit", () => sessionStorage.setItem("verdict-sent", name));
  }
  const sent = sessionStorage.getItem("verdict-sent");
  if (sent && document.getElementById("review-bar")) {
    sessionStorage.removeItem(sent);
    sessionStorage.removeItem("verdict-sent");
  }
})();
