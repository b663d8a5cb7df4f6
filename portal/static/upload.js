// Shows how far an upload is. Without this script the same form works, without the bar.
"use strict";
const form = document.getElementById("upload");
if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [bar, sent, failed] = ["progress", "sent", "failed"].map((id) => document.getElementById(id));
    const button = form.querySelector("button");
    const request = new XMLHttpRequest();
    const giveUp = () => { failed.hidden = false; button.disabled = false; };
    request.upload.addEventListener("progress", (step) => {
      bar.max = step.total;
      bar.value = step.loaded;
      sent.textContent = `${Math.floor((100 * step.loaded) / Math.max(1, step.total))} %`;
    });
    request.addEventListener("error", giveUp);
    request.addEventListener("load", () => {
      const content = new DOMParser().parseFromString(request.responseText, "text/html").getElementById("content");
      if (content) document.getElementById("content").replaceWith(content);
      else giveUp();
    });
    bar.hidden = sent.hidden = false;
    failed.hidden = true;
    button.disabled = true;
    request.open("POST", form.action);
    request.send(new FormData(form));
  });
}
