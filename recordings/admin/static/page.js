// What a page does beyond HTML: count down, hear of changes, and let nobody approve what they have not scrolled through.
// Nothing here decides: the server asks for everything again. No HTML is ever made from text.
"use strict";

(() => {
  const body = document.body;
  const skew = Number(body.dataset.now) * 1000 - Date.now();
  const news = document.getElementById("news");

  const say = (text) => {
    document.getElementById("news-text").textContent = text;
    news.hidden = false;
  };

  const two = (number) => String(number).padStart(2, "0");

  const tick = () => {
    for (const element of document.querySelectorAll("[data-expires]")) {
      const left = Math.ceil((Number(element.dataset.expires) * 1000 - Date.now() - skew) / 1000);
      element.classList.toggle("late", left < 30);
      element.textContent = left > 0 ? `${Math.floor(left / 60)}:${two(left % 60)} left` : "expired";
      if (left <= 0 && body.dataset.page === "approval") stop("expired");
    }
  };

  const stop = (state) => {
    const article = document.getElementById("approval");
    if (article === null || article.dataset.state === state || article.dataset.state !== "pending") return;
    article.dataset.state = state;
    for (const button of article.querySelectorAll("form button")) button.disabled = true;
    document.getElementById("state").textContent = state;
    say(`This approval is now ${state}.`);
  };

  const changed = (change) => {
    if (body.dataset.page === "queue") {
      const active = document.activeElement;
      if (active === body || active === null || active.id === "main") location.reload();
      else say("The list has changed.");
    } else if (body.dataset.page === "approval") {
      const article = document.getElementById("approval");
      if (change.id === article.dataset.id) {
        if (change.state && change.state !== "pending") stop(change.state);
        else say("This approval has changed.");
      }
    }
  };

  const listen = () => {
    const source = new EventSource(body.dataset.events);
    let before = false;
    source.addEventListener("hello", () => {
      if (before) changed({ id: "", state: "" }); // what happened while the line was down is not known
      before = true;
      body.dataset.live = "yes";
    });
    source.addEventListener("change", (event) => changed(JSON.parse(event.data)));
    source.addEventListener("bye", () => {
      source.close();
      say("You are logged out.");
    });
  };

  const gate = () => {
    const end = document.getElementById("end");
    const buttons = document.querySelectorAll("[data-needs-end]");
    if (end === null || buttons.length === 0) return;
    const hint = document.getElementById("scroll");
    for (const button of buttons) button.disabled = true;
    hint.hidden = false;
    const look = () => {
      if (end.getBoundingClientRect().top > innerHeight) return;
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
      hint.hidden = true;
      if (document.getElementById("approval").dataset.state !== "pending") return;
      for (const button of buttons) button.disabled = false;
    };
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    look();
  };

  tick();
  setInterval(tick, 500);
  gate();
  if (body.dataset.events && (body.dataset.page === "queue" || body.dataset.page === "approval")) listen();
})();
